"""View models of what was measured beside the run: operation conformance, and benchmarks.

In: the documents that are attached to a run: of kind ``conformance`` (``parity conformance``) and
``bench`` (``nox -s bench``). Out: tables of texts and numbers. They were made apart from the run,
so each says when and from which commit. Of several benchmark documents the latest is shown, and
its change since the earliest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.reading import Row, number, objects, rows, sequence, text, whole
from harness.report.text import words
from harness.verdicts import Run

BESIDE = ("conformance", "bench")
"""The kinds of attached documents that are drawn here."""
EXECUTED = ("passed", "failed", "waived")


@dataclass(frozen=True)
class OperationRow:
    """How many tests with an operation of this type in their programs came out how."""

    operation: str
    state: str
    passed: int
    failed: int
    waived: int


@dataclass(frozen=True)
class ConformanceView:
    """coremltools' own operation tests, judged through the executor.

    Attributes:
        state: ``pass``, ``fail`` or ``not_evaluated``.
        counts: outcome in words, number of tests.
        operations: one row for each type, failures first.
        notes: title, and what is listed under it: failures, waivers, stale waivers, problems.
    """

    state: str
    sentence: str
    selection: str
    commit: str
    started: str
    counts: tuple[tuple[str, int], ...]
    operations: tuple[OperationRow, ...]
    notes: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class BenchRow:
    """One figure; ``change_percent`` is against the earliest document, ``None`` without one."""

    name: str
    value: float | None
    unit: str
    before: float | None
    change_percent: float | None


@dataclass(frozen=True)
class BenchView:
    """The figures of one benchmark run, and what they are held against."""

    commit: str
    started: str
    machine: str
    before_commit: str
    before_started: str
    rows: tuple[BenchRow, ...]


def conformance_views(run: Run) -> tuple[ConformanceView, ...]:
    """Return the conformance documents that are attached to a run."""
    return tuple(_conformance(document) for document in _attached(run, "conformance"))


def bench_view(run: Run) -> BenchView | None:
    """Return the latest benchmark document of a run beside the earliest; ``None`` without any."""
    documents = sorted(_attached(run, "bench"), key=lambda document: text(document, "started"))
    if not documents:
        return None
    now, before = documents[-1], documents[0] if len(documents) > 1 else {}
    earlier = {text(row, "name"): number(row, "value") for row in objects(before, "figures")}
    return BenchView(
        commit=_commit(now),
        started=text(now, "started"),
        machine=_machine(now),
        before_commit=_commit(before),
        before_started=text(before, "started"),
        rows=tuple(
            _bench_row(row, earlier.get(text(row, "name"))) for row in objects(now, "figures")
        ),
    )


def _attached(run: Run, kind: str) -> list[Row]:
    found = [row.get("document") for row in rows(run, "attachment") if text(row, "kind") == kind]
    return [document for document in found if isinstance(document, Mapping)]


def _conformance(document: Row) -> ConformanceView:
    counts = document.get("counts")
    counts = counts if isinstance(counts, Mapping) else {}
    lists = (
        ("Failed", _listed(objects(document, "failures"))),
        ("Stale waivers", _listed(objects(document, "stale_waivers"))),
        ("Problems", tuple(str(item) for item in sequence(document.get("problems")))),
        ("Waived", _listed(objects(document, "waived"))),
    )
    return ConformanceView(
        state=_state(text(document, "verdict")),
        sentence=text(document, "sentence"),
        selection=text(document, "selection"),
        commit=_commit(document),
        started=text(document, "started"),
        counts=tuple((words(str(name)), whole(counts, name) or 0) for name in counts),
        operations=_operations(objects(document, "operations")),
        notes=tuple((title, lines) for title, lines in lists if lines),
    )


def _operations(found: Sequence[Row]) -> tuple[OperationRow, ...]:
    made = []
    for row in found:
        passed, failed, waived = (whole(row, name) or 0 for name in EXECUTED)
        state = "fail" if failed else "waived" if waived else "pass" if passed else "not_evaluated"
        made.append(OperationRow(text(row, "operation"), state, passed, failed, waived))
    return tuple(sorted(made, key=lambda row: (-row.failed, -row.waived, row.operation)))


def _listed(items: Sequence[Row]) -> tuple[str, ...]:
    return tuple(f"{text(item, 'id')}: {text(item, 'reason')}" for item in items)


def _bench_row(row: Row, before: float | None) -> BenchRow:
    value = number(row, "value")
    change = None
    if value is not None and before:
        change = 100.0 * (value / before - 1.0)
    return BenchRow(text(row, "name"), value, text(row, "unit"), before, change)


def _state(verdict: str) -> str:
    return verdict if verdict in ("pass", "fail") else "not_evaluated"


def _commit(document: Row) -> str:
    origin = document.get("provenance")
    return text(origin, "commit") if isinstance(origin, Mapping) else ""


def _machine(document: Row) -> str:
    origin = document.get("provenance")
    machine = origin.get("machine") if isinstance(origin, Mapping) else None
    return text(machine, "processor") if isinstance(machine, Mapping) else ""
