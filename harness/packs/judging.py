"""Results against a pack: a check for each expected tensor, by the pack's own tolerance.

What is missing is not evaluated, and never green; what nobody asked for is listed. A quiet tensor
is held to its SNR, too: the pack's tolerances are relative to each tensor's level, and at -96 dBFS
a bound in absolute numbers would let silence pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np

from harness.errors import NotEvaluatedError, UnknownNameError, command_line
from harness.origin import provenance
from harness.packs.manifest import CaseEntry, TensorEntry, Tolerance
from harness.packs.problems import Array
from harness.packs.process import Execution
from harness.packs.reading import Pack, Results
from harness.verdicts import (
    Check,
    EngineState,
    Outcome,
    Profile,
    Run,
    Verdict,
    compare,
    not_evaluated,
)
from harness.verdicts.collector import Collector
from harness.verdicts.rows.packs import PackOperation, PackResults

_ALIKE: Final = 4.0
"""An error up to so many times a predicted one is of its kind: another order of the same sums moves
it by about two."""


@dataclass(frozen=True)
class Request:
    """What of a pack is judged.

    Attributes:
        only: globs of cases or operations; all if empty.
        forward: outputs alone, no gradients: for implementations that only run a network.
    """

    only: tuple[str, ...] = ()
    forward: bool = False

    @property
    def narrowed(self) -> str:
        """What it leaves, in words; empty for all."""
        parts = [", ".join(self.only)] if self.only else []
        return "; ".join(parts + ["outputs alone"] * self.forward)

    def chosen(self, pack: Pack) -> list[tuple[CaseEntry, TensorEntry]]:
        """Return the expected tensors that are judged.

        Raises:
            UnknownNameError: a glob fits nothing.
            NotEvaluatedError: nothing is left.
        """
        cases = pack.manifest.cases
        names = {name for case in cases for name in (case.operation, case.name)}
        for glob in self.only:
            if not any(fnmatchcase(name, glob) for name in names):
                raise UnknownNameError("operation or case", glob, names)
        pairs = [
            (case, tensor)
            for case in cases
            if not self.only
            or any(fnmatchcase(n, g) for n in (case.name, case.operation) for g in self.only)
            for tensor in case.expected
            if not self.forward or tensor.name.startswith("out/")
        ]
        if not pairs:
            raise NotEvaluatedError(
                f"nothing of the pack {pack.manifest.name!r} fits {self.narrowed!r}; its "
                f"operations are listed by: {command_line('pack', 'show', pack.folder)}"
            )
        return pairs


@dataclass(frozen=True)
class Finding:
    """One expected tensor and what became of it.

    Attributes:
        note: what the size of the error says of the algorithm; empty where nothing is known.
    """

    case: CaseEntry
    tensor: TensorEntry
    outcome: Outcome
    note: str = ""

    @property
    def name(self) -> str:
        """The name of the tensor in results."""
        return f"{self.case.name}/{self.tensor.name}"


@dataclass(frozen=True)
class Judgement:
    """What a pack says of results.

    Attributes:
        findings: in the order of the pack.
        extra: tensors that nobody asked for.
        narrowed: what was judged, if not everything.
    """

    pack: Pack
    findings: tuple[Finding, ...]
    extra: tuple[str, ...]
    narrowed: str

    def of(self, verdict: Verdict) -> list[Finding]:
        """Return the findings of a verdict."""
        return [finding for finding in self.findings if finding.outcome.verdict is verdict]

    def operations(self, verdict: Verdict) -> list[str]:
        """Return the operations that have a finding of a verdict."""
        return list(dict.fromkeys(finding.case.operation for finding in self.of(verdict)))

    @property
    def missing(self) -> list[str]:
        """The tensors that were not looked at."""
        return [finding.name for finding in self.of(Verdict.NOT_EVALUATED)]

    def run(self, execution: Execution | None = None) -> Run:
        """Return the judgement as a run, with what became of the command if one was executed."""
        layers = tuple(dict.fromkeys(finding.case.layer for finding in self.findings))
        engines = ("process",) if execution else ()
        narrowed = (self.narrowed,) if self.narrowed else ()
        name = f"pack {self.pack.manifest.name}"
        collector = Collector(Profile(name, layers, engines, narrowed=narrowed))
        for finding in self.findings:
            labels = {"case": finding.case.name, "tensor": finding.tensor.name}
            bounds = _bounds(finding.tensor).gate(finding.case.operation)
            collector.checks.append(
                Check(finding.case.layer, labels, True, bounds, finding.outcome)
            )
        collector.keep(self._row(execution))
        about: dict[str, Any] = {"pack": self.pack.manifest.files["expected"].sha256}
        if execution is not None:
            collector.problems += [execution.complaint] if execution.complaint else []
            about |= {"process": execution.command, "stderr": execution.stderr}
        run = collector.finish(provenance(extra=list(self.extra), **about))
        if execution is None:
            return run
        version = f"exit code {execution.exit_code}"
        return replace(run, engines=(EngineState("process", True, "", version, True),))

    def _row(self, execution: Execution | None) -> PackResults:
        manifest = self.pack.manifest
        return PackResults(
            manifest.name,
            manifest.required,
            self.narrowed,
            execution.command if execution else "",
            tuple(
                self._operation(name, summary)
                for name, summary in manifest.operations.items()
                if any(finding.case.operation == name for finding in self.findings)
            ),
            self.extra,
        )

    def _operation(self, name: str, summary: str) -> PackOperation:
        mine = [finding for finding in self.findings if finding.case.operation == name]
        of = {v: [f for f in mine if f.outcome.verdict is v] for v in Verdict}
        headrooms = [f.outcome.headroom_db for f in mine if f.outcome.headroom_db is not None]
        first = next(iter((*of[Verdict.FAIL], *of[Verdict.NOT_EVALUATED])), None)
        return PackOperation(
            name,
            summary,
            passed=len(of[Verdict.PASS]),
            failed=len(of[Verdict.FAIL]),
            missing=len(of[Verdict.NOT_EVALUATED]),
            headroom_db=min(headrooms, default=None),
            first=first.name if first else "",
            reason=first.outcome.reason if first else "",
            notes=tuple(f"{finding.name}: {finding.note}" for finding in mine if finding.note),
        )


def judge(
    pack: Pack,
    results: Results,
    request: Request = Request(),
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Judgement:
    """Hold results against a pack.

    Args:
        pack: what is expected.
        results: what was made.
        request: what of it is judged.
        advance: told how many tensors are done, and of how many.

    Raises:
        UnknownNameError, NotEvaluatedError: as `Request.chosen`.
        PackError: a result can't be read.
    """
    pairs = request.chosen(pack)
    findings = []
    for case, tensor in pairs:
        findings.append(_finding(pack, results, case, tensor))
        advance(len(findings), len(pairs))
    known = {f"{c.name}/{t.name}" for c in pack.manifest.cases for t in c.expected}
    extra = tuple(name for name in results.names if name not in known)
    return Judgement(pack, tuple(findings), extra, request.narrowed)


def _finding(pack: Pack, results: Results, case: CaseEntry, tensor: TensorEntry) -> Finding:
    name = f"{case.name}/{tensor.name}"
    if name not in results:
        return Finding(case, tensor, not_evaluated("the results have no such tensor"))
    expected, actual = pack.read(case, tensor), results.read(name)
    outcome = _outcome(expected, actual, _bounds(tensor), case.operation)
    note = ""
    if case.algorithms and tensor.name == "out/y" and expected.shape == actual.shape:
        error = float(np.max(np.abs(expected.astype(np.float64) - actual), initial=0.0))
        note = _kinship(error, case.algorithms.items())
    return Finding(case, tensor, outcome, note)


def _bounds(tensor: TensorEntry) -> Tolerance:
    return tensor.tolerance or Tolerance(0.0, 0.0)  # every expected tensor has one


def _outcome(expected: Array, actual: Array, bounds: Tolerance, operation: str) -> Outcome:
    same = expected.shape == actual.shape and expected.dtype == actual.dtype
    if expected.size == 0 and same:
        return Outcome(
            Verdict.PASS, "empty, as expected", "no element", "no element", headroom_db=math.inf
        )
    return compare(expected, actual, bounds.gate(operation))


def _kinship(error: float, predicted: Iterable[tuple[str, float]]) -> str:
    """Say which algorithm's error this is: the best one of those that are predicted to be as far
    off, or none."""
    rows: Sequence[tuple[str, float]] = sorted(predicted, key=lambda row: row[1])
    listed = ", ".join(f"{name} {value:.1e}" for name, value in rows)
    for name, value in rows:
        if error <= _ALIKE * value:
            return f"error {error:.1e} is what the algorithm {name} makes (predicted: {listed})"
    return f"error {error:.1e} is more than any algorithm's: a bug, no rounding ({listed})"
