"""Documents of the precision lab, of conformance and of benchmarks that a run takes along.

In: JSON files that ``parity sensitivity --out``, ``parity tune``, ``parity headroom --json``,
``parity conformance`` and ``nox -s bench`` write. Out: rows, cut to what the report draws: a run
stays small whatever is attached. What a document says beyond the fields of its row is left out;
what it says otherwise than they do is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from harness.bounded import read_json
from harness.errors import RunError
from harness.verdicts.checks import Verdict
from harness.verdicts.jsondata import Count, Limits, pruned, restored
from harness.verdicts.kinds import another_kind

MOST_BYTES: Final = 64 << 20
_MANY: Final = Limits(0, 4000)
_LISTED: Final = Limits(0, 200)


@dataclass(frozen=True)
class Machine:
    """What made a document, as far as the page names it."""

    processor: str = ""


@dataclass(frozen=True)
class Origin:
    """From where a document is: the commit and the machine that made it."""

    commit: str = ""
    machine: Machine = field(default_factory=Machine)


@dataclass(frozen=True)
class OperationShare:
    """An operation's share of the output error, as noise over signal; null where unknown.

    Attributes:
        error: what it adds: that of ``fp16``, or that of its weights stored as ``int8``, ...
    """

    operation: str
    type: str
    module: str | None = ""
    error: str = "fp16"
    share: float | None = None


@dataclass(frozen=True)
class SensitivityRow:
    """What each operation adds to the error, by the measure that they are ranked by.

    Attributes:
        name: of the file, or of what made it.
        precision: the recipe.
        predicted_db: SNR by case and measure that the sum of the shares gives.
        measured_db: the same by a virtual run.
    """

    name: str
    subject: str
    precision: str
    cases: tuple[str, ...]
    measure: str
    operations: Annotated[tuple[OperationShare, ...], _MANY]
    predicted_db: Mapping[str, float | None] = field(default_factory=dict)
    measured_db: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialRow:
    """A set of FP32 operations that was measured: how many, their share of the cost, the SNRs."""

    fp32_count: Count
    fp32_share: Annotated[float, Limits(0, 1)]
    measured_db: Mapping[str, float | None]
    holds: bool

    @property
    def worst_db(self) -> float:
        """The lowest SNR that was measured; infinite where none is known."""
        known = [at for at in self.measured_db.values() if at is not None and math.isfinite(at)]
        return min(known, default=math.inf)


@dataclass(frozen=True)
class GoalRow:
    """What a tuning was asked for."""

    min_snr_db: float | None = None
    cost: str = "operations"


@dataclass(frozen=True)
class TuningRow:
    """What ``parity tune`` tried; ``limit`` says why a goal can't be reached."""

    name: str
    subject: str
    cases: tuple[str, ...]
    goal: GoalRow
    reached: bool
    limit: str
    best: TrialRow | None
    trials: Annotated[tuple[TrialRow, ...], _MANY]


@dataclass(frozen=True)
class RiskRow:
    """Why FP16 endangers an operation, and on which signal."""

    kind: str
    reason: str
    case: str


@dataclass(frozen=True)
class EndangeredRow:
    """An operation that FP16 endangers."""

    operation: str
    type: str
    risks: tuple[RiskRow, ...]
    module: str | None = ""
    headroom_db: float | None = None


@dataclass(frozen=True)
class HeadroomRow:
    """How near operations come to FP16's ends.

    Attributes:
        as_fp16: whether operations in FP32 were judged as if they ran in FP16.
        operation_count, at_risk_count: of all operations.
        least_headroom_db: of any of them.
        operations: the first ones at risk, in program order.
    """

    name: str
    numerics: str
    as_fp16: bool
    cases: tuple[str, ...]
    operation_count: Count
    at_risk_count: Count
    least_headroom_db: float | None
    operations: Annotated[tuple[EndangeredRow, ...], _LISTED]


@dataclass(frozen=True)
class TestedRow:
    """How many tests with an operation of this type in their programs came out how."""

    operation: str
    passed: Count = 0
    failed: Count = 0
    waived: Count = 0

    @property
    def state(self) -> str:
        """``fail``, ``waived``, ``pass``, or ``not_evaluated`` where none was executed."""
        states = {"fail": self.failed, "waived": self.waived, "pass": self.passed}
        return next((state for state, count in states.items() if count), "not_evaluated")


def failures_first(rows: Iterable[TestedRow]) -> tuple[TestedRow, ...]:
    """Return types of operations with those first of which tests failed, then were waived."""
    return tuple(sorted(rows, key=lambda row: (-row.failed, -row.waived, row.operation)))


@dataclass(frozen=True)
class ListedRow:
    """A test, or a waiver, and why it is listed."""

    id: str
    reason: str


@dataclass(frozen=True)
class ConformanceRow:
    """coremltools' own operation tests, judged through the executor.

    Attributes:
        selection: which tests were asked for, in words.
        counts: number of tests by outcome.
        operations: one row for each type.
        started: ISO 8601 in UTC.
    """

    name: str
    verdict: Verdict
    sentence: str
    selection: str
    counts: Mapping[str, Count]
    operations: Annotated[tuple[TestedRow, ...], _MANY]
    failures: Annotated[tuple[ListedRow, ...], _LISTED] = ()
    waived: Annotated[tuple[ListedRow, ...], _LISTED] = ()
    stale_waivers: Annotated[tuple[ListedRow, ...], _LISTED] = ()
    problems: Annotated[tuple[str, ...], _LISTED] = ()
    provenance: Origin = field(default_factory=Origin)
    started: str = ""


@dataclass(frozen=True)
class FigureRow:
    """One measured number."""

    name: str
    value: float | None
    unit: str = ""


@dataclass(frozen=True)
class BenchRow:
    """The figures of one benchmark run."""

    name: str
    started: str
    figures: Annotated[tuple[FigureRow, ...], _MANY]
    provenance: Origin = field(default_factory=Origin)


Document = SensitivityRow | TuningRow | HeadroomRow | ConformanceRow | BenchRow


def read_attachment(file: Path) -> Document:
    """Return the document in ``file`` as a row of a run.

    Raises:
        RunError: it can't be read, is no JSON, or no document that a report draws.
    """
    try:
        document = read_json(file, MOST_BYTES, RunError)
    except RunError as error:
        raise RunError(f"can't attach {error}") from error
    return attachment(file.name, document)


def attachment(name: str, document: Any) -> Document:
    """Return a document as a row of a run.

    Args:
        name: of the file, or of what made it.
        document: what a command wrote, or would write.

    Raises:
        RunError: it is of no kind that a report draws, or not as that kind is.
    """
    found = document if isinstance(document, Mapping) else {}
    headroom = {"as_fp16", "at_risk", "operations"} <= found.keys()
    kind = str(found.get("kind", "headroom" if headroom else ""))
    if kind not in _KINDS:
        other = another_kind(document, "document that a report draws")
        raise RunError(
            f"can't attach {name}: {f'this is {other}; ' * bool(other)}expected a document of "
            "parity sensitivity, parity tune, parity headroom, parity conformance or nox -s bench"
        )
    cls, cut = _KINDS[kind]
    try:
        row: Document = restored(cls, pruned(cls, {**cut(found), "name": name}), kind)
    except RunError as error:
        raise RunError(f"can't attach {name}: {error}") from error
    return row


def _sensitivity(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the first measure: the one that operations are ranked by."""
    measure = next(iter(_objects(document, "measures", str)), "")
    operations = [
        {**item, "share": item["mean"].get(measure)}
        for item in _objects(document, "operations")
        if isinstance(item.get("mean"), Mapping)
    ]
    return {**document, "measure": measure, "operations": operations}


def _tuning(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep counts in place of the names of operations."""
    best = document.get("best")
    return {
        **document,
        "best": _counted(best) if isinstance(best, Mapping) else None,
        "trials": [_counted(trial) for trial in _objects(document, "trials")],
    }


def _counted(trial: Mapping[str, Any]) -> dict[str, Any]:
    return {**trial, "fp32_count": len(_objects(trial, "fp32", str))}


def _headroom(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the operations at risk, and the least headroom of all."""
    operations = _objects(document, "operations")
    risky = [item for item in operations if _objects(item, "risks")]
    levels = [item.get("headroom_db") for item in operations]
    known = [level for level in levels if isinstance(level, (int, float))]
    return {
        **document,
        "operation_count": len(operations),
        "at_risk_count": len(risky),
        "least_headroom_db": min(known, default=None),
        "operations": risky,
    }


_KINDS: Final[Mapping[str, tuple[type[Document], Any]]] = {
    "sensitivity": (SensitivityRow, _sensitivity),
    "tuning": (TuningRow, _tuning),
    "headroom": (HeadroomRow, _headroom),
    "conformance": (ConformanceRow, dict),
    "bench": (BenchRow, dict),
}
"""Kind of document -> class of its row, and what makes the fields of the row of its own."""


def _objects(row: Mapping[str, Any], key: str, cls: type = Mapping) -> list[Any]:
    value = row.get(key)
    items = value if isinstance(value, (list, tuple)) else ()
    return [item for item in items if isinstance(item, cls)]
