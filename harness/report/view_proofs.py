"""View models of what was measured beside the run: operation conformance, and benchmarks.

In: the ``conformance`` and ``bench`` rows of a run, which were attached to it (``parity
conformance``, ``nox -s bench``). Out: tables of numbers. They were made apart from the
run, so each says when and from which commit. Of several benchmark documents the latest is shown,
and its change since the earliest.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.verdicts import Run
from harness.verdicts.rows.documents import BenchRow


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
