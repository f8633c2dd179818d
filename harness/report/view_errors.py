"""View models of how large the errors are: their histogram, their share, and against magnitude.

In: the ``error_counts`` rows of a run, whose bins are powers of two. Out: one `ErrorView` for each
tensor of a subject and recipe. Exponents count in bits: 2^k is 6.02 k dB.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.report.order import by_recipe
from harness.verdicts import Run
from harness.verdicts.rows.signals import ErrorCounts


@dataclass(frozen=True)
class ErrorView:
    """The errors of one tensor.

    Attributes:
        row: as the run has it.
        cells: (magnitude exponent, error exponent, share of all elements in percent).
        histogram: (error exponent, percent), ascending and without gaps.
        cumulative: (error exponent, percent of elements with an error under the bin's upper end).
        exact_percent: elements without any error.
        above_percent: elements of which the error is at least as large as the value.
    """

    row: ErrorCounts
    cells: tuple[tuple[int, int, float], ...]
    histogram: tuple[tuple[int, float], ...]
    cumulative: tuple[tuple[int, float], ...]
    exact_percent: float
    above_percent: float

    @property
    def ulp(self) -> tuple[tuple[str, int], ...]:
        """Shares of the elements in words, with the steps that they keep within."""
        row = self.row
        steps = (row.ulp_p50, row.ulp_p99, row.ulp_p999, row.ulp_max)
        return tuple(zip(("half", "99 %", "99.9 %", "all"), steps, strict=True))


def error_views(run: Run) -> tuple[ErrorView, ...]:
    """Return a view for each row, recipes in the order of the run."""
    return tuple(_view(row) for row in by_recipe(run, run.artefacts.error_counts))


def _view(row: ErrorCounts) -> ErrorView:
    percent = 100.0 / row.elements
    counts: Counter[int] = Counter()
    for _, error, count in row.cells:
        counts[error] += count
    for error, count in row.zero_errors:
        counts[error] += count
    span = range(min(counts), max(counts) + 1) if counts else range(0)
    total, cumulative = row.exact, []
    for exponent in span:
        total += counts[exponent]
        cumulative.append((exponent + 1, percent * total))
    above = sum(count for magnitude, error, count in row.cells if error >= magnitude)
    above += sum(count for _, count in row.zero_errors)
    return ErrorView(
        row=row,
        cells=tuple((m, e, percent * count) for m, e, count in row.cells),
        histogram=tuple((exponent, percent * counts[exponent]) for exponent in span),
        cumulative=tuple(cumulative),
        exact_percent=percent * row.exact,
        above_percent=percent * above,
    )
