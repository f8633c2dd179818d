"""The golden store: builds goldens, says what state they are in, and hands out the sound ones.

In: subjects, and the names of cases in ``recipes.toml``. Out: a `Finding` for each golden, and
`Golden` objects whose tensors are NumPy arrays. Where files lie is told in `harness.golden.layout`.

A golden is sound when its file has the SHA-256 that the ledger holds and was made from the same
recipe, weights and versions as it would be now. A sound golden matches when its fingerprint is
within 1e-5 of the committed one.

What is absent may be built on demand, and that is said. What is there and wrong is never repaired
on the way: a corrupt, stale or drifted golden stays as it is until someone asks for a build.

Any number of processes may work in one store. Each golden has a lock, so one builds it and the
others wait for the result; the ledger and the manifest are read, changed and replaced under their
own locks. A kill leaves the old state or the new one.

Reading a golden hashes its whole file first, at about 1.8 GB/s where the processor has SHA
instructions: 0.07 s for the 113 MB of a six-stem segment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy.typing as npt

from harness.errors import GoldenUnavailableError, UnknownNameError
from harness.golden.fingerprint import TOLERANCE, fingerprint, largest_difference
from harness.golden.inspection import current_versions, examine
from harness.golden.layout import Layout, build_command
from harness.golden.publication import SubjectLike, accept, publish, settle
from harness.golden.recipes import Case, load_cases
from harness.golden.records import Entry, Record, read_ledger, read_manifest
from harness.golden.status import ABSENT, Finding, GoldenStatus
from harness.golden.tensorfile import Golden

S = TypeVar("S", bound=SubjectLike)
Builder = Callable[[S, Case], Mapping[str, npt.NDArray[Any]]]
"""Runs a subject on a case and returns all that is to be stored: arrays by name."""


@dataclass(frozen=True)
class Fetched:
    """What `GoldenStore.fetch` found; ``golden`` is None unless it is usable."""

    finding: Finding
    golden: Golden | None

    def require(self) -> Golden:
        """Return the golden.

        Raises:
            GoldenUnavailableError: it is not usable; the message names it and the next step.
        """
        if self.golden is None:
            raise GoldenUnavailableError(self.finding.message)
        return self.golden


@dataclass(frozen=True)
class Holding:
    """One golden that the store knows of: what was built here, and what is committed."""

    subject: str
    case: str
    finding: Finding
    built: Record | None
    committed: Record | None


class GoldenStore(Generic[S]):
    """The goldens under one folder.

    Args:
        root: the folder with ``recipes.toml``.
        builder: makes the tensors; by default `harness.golden.builder.build_tensors`.
        versions: what computes the tensors; by default what is installed.
    """

    def __init__(
        self,
        root: Path,
        builder: Builder[S] | None = None,
        *,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.layout = Layout(Path(root))
        self._builder = builder
        self._versions = dict(versions) if versions is not None else current_versions()

    @cached_property
    def cases(self) -> dict[str, Case]:
        """The cases of ``recipes.toml``, by name, in the order of the file."""
        return load_cases(self.layout.recipes)

    def status(self, subject: S, case: str, *, deep: bool = True) -> Finding:
        """Say what state a golden is in, without changing anything.

        Args:
            subject: the loaded subject.
            case: name of the case.
            deep: hash the file; otherwise only its size is compared, and flipped bytes go unseen.

        Raises:
            UnknownNameError: there is no such case.
            GoldenError: the ledger or the manifest can't be read.
        """
        return self._examine(subject, case, deep=deep)[0]

    def load(self, subject: S, case: str) -> Golden:
        """Open a usable golden, its whole file verified.

        Raises:
            GoldenUnavailableError: it is not usable; the message names it and the next step.
            UnknownNameError, GoldenError: as `status`.
        """
        return self._open(subject, case).require()

    def fetch(self, subject: S, case: str) -> Fetched:
        """Open a golden for a suite; build it if it is absent, and say so in the finding.

        Raises:
            GoldenError: it was absent and can't be built, or as `status`.
            UnknownNameError: there is no such case.
        """
        found = self._open(subject, case)
        if found.finding.status not in ABSENT:
            return found
        built = self.build(subject, case)
        now = self._open(subject, case)
        if built.was is None:  # another process made it, and says so
            return now
        return Fetched(replace(now.finding, was=found.finding.status), now.golden)

    def build(self, subject: S, case: str, *, force: bool = False, record: bool = False) -> Finding:
        """Build a golden unless a sound one is there, and return its state afterwards.

        A second process that asks meanwhile waits, and takes the result of the first.

        Args:
            subject: the loaded subject.
            case: name of the case.
            force: build also where a sound one is there.
            record: accept what is there afterwards: write its fingerprint to the manifest.

        Raises:
            GoldenError: the disk is full, or the builder made what can't be a golden; an older file
                stays as it was.
            UnknownNameError: there is no such case.
        """
        recipe = self._case(case)
        before = self._entry(subject.name, case).current
        with self.layout.lock_golden(subject.name, case):
            overtaken = self._entry(subject.name, case).current != before
            settle(self.layout, subject.name, case)
            found, sound = self._examine(subject, case, deep=True)
            make = sound is None or (force and not overtaken)
            if make:
                self._make(subject, recipe)
            if record:
                accept(self.layout, subject.name, case, keep=self.cases)
            finding, _ = self._examine(subject, case, deep=False)
        return replace(finding, was=found.status) if make else finding

    def verify(self, subject: S, case: str) -> Finding:
        """Say what state a golden is in from its tensors, all read and fingerprinted afresh.

        Raises:
            UnknownNameError, GoldenError: as `status`.
        """
        with self.layout.lock_golden(subject.name, case):
            finding, record = self._examine(subject, case, deep=True)
            if record is None:
                return finding
            with self._golden(subject.name, case, record) as golden:
                afresh = {name: fingerprint(name, golden[name]) for name in golden.names}
        difference = largest_difference(record.tensors, afresh)
        if difference is not None and difference.relative > TOLERANCE:
            reason = f"the ledger's fingerprint is not that of the file: {difference.text}"
            step = f"build it: {build_command(subject.name, case, '--force')}"
            return Finding(subject.name, case, GoldenStatus.CORRUPT, reason, step)
        return finding

    def show(self) -> tuple[Holding, ...]:
        """List every golden that was built here or is committed, sorted, without hashing files.

        No subject is loaded, so weights that changed since are not seen here.

        Raises:
            GoldenError: the ledger or the manifest can't be read.
        """
        entries = read_ledger(self.layout.ledger)
        committed = read_manifest(self.layout.manifest)
        return tuple(
            Holding(
                subject,
                case,
                self._finding_without_subject(subject, case),
                entries.get((subject, case), Entry()).current,
                committed.get((subject, case)),
            )
            for subject, case in sorted(entries.keys() | committed.keys())
        )

    def _finding_without_subject(self, subject: str, case: str) -> Finding:
        if case not in self.cases:
            reason = f"{self.layout.recipes} has no such case any more"
            return Finding(subject, case, GoldenStatus.STALE, reason)
        recipe = self.cases[case]
        return examine(self.layout, subject, None, recipe, self._versions, deep=False)[0]

    def _examine(self, subject: S, case: str, *, deep: bool) -> tuple[Finding, Record | None]:
        weights = subject.fingerprint
        recipe = self._case(case)
        return examine(self.layout, subject.name, weights, recipe, self._versions, deep=deep)

    def _open(self, subject: S, case: str) -> Fetched:
        self._case(case)
        # Under the lock, the file that is hashed is the file that is opened.
        with self.layout.lock_golden(subject.name, case):
            finding, record = self._examine(subject, case, deep=True)
            if record is None or not finding.usable:
                return Fetched(finding, None)
            return Fetched(finding, self._golden(subject.name, case, record))

    def _golden(self, subject: str, case: str, record: Record) -> Golden:
        return Golden(subject, case, self.layout.tensors(subject, case), record)

    def _make(self, subject: S, case: Case) -> None:
        builder = self._builder or _real_builder()
        started = time.monotonic()
        tensors = builder(subject, case)
        publish(self.layout, subject, case, tensors, versions=self._versions, started=started)

    def _entry(self, subject: str, case: str) -> Entry:
        return read_ledger(self.layout.ledger).get((subject, case), Entry())

    def _case(self, name: str) -> Case:
        if name not in self.cases:
            raise UnknownNameError("golden case", name, self.cases)
        return self.cases[name]


def _real_builder() -> Builder[Any]:
    from harness.golden.builder import build_tensors  # imports torch

    return build_tensors
