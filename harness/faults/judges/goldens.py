"""A golden store on disk, judged by itself and by the verdict of a run that rests on it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import GoldenError
from harness.faults.judging import FaultJudgement, digest, outcome_of, refused
from harness.faults.registry import Fault
from harness.golden import Case, GoldenStore
from harness.verdicts import Check, GoldenState, Outcome, Profile, Run, Verdict
from harness.workbench import Workbench

CASES = ("noise", "song")
VERSIONS = {"torch": "1.0", "demucs": "1.0", "numpy": "1.0", "harness": "1.0"}


@dataclass(frozen=True)
class Weights:
    """A subject, as far as goldens are concerned."""

    name: str
    fingerprint: str


def build(subject: Weights, case: Case) -> dict[str, np.ndarray]:
    """Return small tensors that depend on the weights and on the case alone."""
    seed = [*subject.fingerprint.encode()[:8], *case.name.encode()]
    values = np.random.default_rng(seed).standard_normal((2, 3, 512)).astype(np.float32)
    return {"audio": values[0], "stems": values[1]}


@dataclass(frozen=True)
class Keep:
    """A folder of goldens, and who asks for one.

    Attributes:
        root: the folder; two goldens of two subjects are built in it, and recorded.
        subject: whose golden is asked for.
        versions: what is installed.
        builder: makes tensors where they are absent.
    """

    root: Path
    subject: Weights = Weights("mini", "a" * 64)
    versions: Mapping[str, str] = field(default_factory=lambda: dict(VERSIONS))
    builder: Callable[[Weights, Case], Mapping[str, np.ndarray]] = build

    @property
    def store(self) -> GoldenStore[Weights]:
        """The project's own store, over this folder."""
        builder: Any = self.builder
        return GoldenStore(self.root, builder, versions=self.versions)

    def tensors(self, case: str = CASES[0], subject: str = "mini") -> Path:
        """Return the file of a golden."""
        return self.store.layout.tensors(subject, case)


OTHER = Weights("htdemucs", "b" * 64)


def judge_goldens(bench: Workbench, fault: Fault) -> Iterator[FaultJudgement]:
    """Judge a store; an injection changes a `Keep` of its own, or returns another view of it."""
    recipes = bench.goldens.store.layout.recipes
    with tempfile.TemporaryDirectory(prefix="parity-goldens-") as folder:
        keep = Keep(Path(folder))
        shutil.copy(recipes, keep.root / recipes.name)
        for subject in (keep.subject, OTHER):
            for case in CASES:
                keep.store.build(subject, case, record=True)
        changed: Keep = fault.inject(keep) or keep
        try:
            status = changed.store.fetch(changed.subject, CASES[0]).finding
        except GoldenError as error:
            yield refused("golden store", "fetch", error)
            return
    state = GoldenState(changed.subject.name, CASES[0], status.run_status, status.message)
    held = Check("ops", {}, True, None, Outcome(Verdict.PASS, "is beside it", "", ""))
    run = Run(Profile("faults", layers=(), engines=()), (held,), goldens=(state,))
    evidence = digest(f"{status.run_status} {run.verdict.value}")
    outcome = outcome_of(run, "a sound golden")
    yield FaultJudgement("golden store", "run verdict", CASES[0], outcome, evidence)
