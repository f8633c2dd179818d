"""View models of what was measured beside the run: operation conformance, and benchmarks.

In: the ``conformance`` and ``bench`` rows of a run, which were attached to it (``parity
conformance``, ``nox -s bench``). Out: tables of texts and numbers. They were made apart from the
run, so each says when and from which commit. Of several benchmark documents the latest is shown,
and its change since the earliest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.report.text import words
from harness.verdicts import Run
from harness.verdicts.rows.documents import BenchRow, ConformanceRow, ListedRow, TestedRow


@dataclass(frozen=True)
class ConformanceView:
    """coremltools' own operation tests, judged through the executor.

    Attributes:
        row: as the run has it.
        counts: outcome in words, number of tests.
        operations: one row for each type, failures first.
        notes: title, and what is listed under it: failures, waivers, stale waivers, problems.
    """

    row: ConformanceRow
    counts: tuple[tuple[str, int], ...]
    operations: tuple[TestedRow, ...]
    notes: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class BenchLine:
    """One figure; ``change_percent`` is against the earliest document, ``None`` without one."""

    name: str
    value: float | None
    unit: str
    before: float | None
    change_percent: float | None


@dataclass(frozen=True)
class BenchView:
    """The figures of one benchmark run, and what they are held against."""

    now: BenchRow
    before: BenchRow | None
    lines: tuple[BenchLine, ...]


def conformance_views(run: Run) -> tuple[ConformanceView, ...]:
    """Return the conformance documents that are attached to a run."""
    return tuple(map(_conformance, run.artefacts.conformance))


def bench_view(run: Run) -> BenchView | None:
    """Return the latest benchmark document of a run beside the earliest; ``None`` without any."""
    rows = sorted(run.artefacts.bench, key=lambda row: row.started)
    if not rows:
        return None
    before = rows[0] if len(rows) > 1 else None
    earlier = {figure.name: figure.value for figure in before.figures} if before else {}
    lines = []
    for figure in rows[-1].figures:
        old, change = earlier.get(figure.name), None
        if figure.value is not None and old:
            change = 100.0 * (figure.value / old - 1.0)
        lines.append(BenchLine(figure.name, figure.value, figure.unit, old, change))
    return BenchView(rows[-1], before, tuple(lines))


def _conformance(row: ConformanceRow) -> ConformanceView:
    lists = (
        ("Failed", _listed(row.failures)),
        ("Stale waivers", _listed(row.stale_waivers)),
        ("Problems", row.problems),
        ("Waived", _listed(row.waived)),
    )
    return ConformanceView(
        row=row,
        counts=tuple((words(name), tests) for name, tests in row.counts.items()),
        operations=tuple(
            sorted(row.operations, key=lambda item: (-item.failed, -item.waived, item.operation))
        ),
        notes=tuple((title, lines) for title, lines in lists if lines),
    )


def _listed(items: Iterable[ListedRow]) -> tuple[str, ...]:
    return tuple(f"{item.id}: {item.reason}" for item in items)
