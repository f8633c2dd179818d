"""View models of how large the errors are: their histogram, their share, and against magnitude.

In: the ``error_counts`` rows of a run, whose bins are powers of two. Out: one `ErrorView` for each
tensor of a subject and recipe. Exponents count in bits: 2^k is 6.02 k dB.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.reading import Row, as_number, rows, sequence, text, whole
from harness.verdicts import Run
from harness.verdicts.artefacts import VERSION


@dataclass(frozen=True)
class ErrorView:
    """The errors of one tensor.

    Attributes:
        cells: (magnitude exponent, error exponent, share of all elements in percent).
        histogram: (error exponent, percent), ascending and without gaps.
        cumulative: (error exponent, percent of elements with an error under the bin's upper end).
        exact_percent: elements without any error.
        above_percent: elements of which the error is at least as large as the value.
    """

    subject: str
    case: str
    recipe: str
    tensor: str
    elements: int
    cells: tuple[tuple[int, int, float], ...]
    histogram: tuple[tuple[int, float], ...]
    cumulative: tuple[tuple[int, float], ...]
    exact_percent: float
    above_percent: float
    non_finite: int
    ulp: tuple[tuple[str, int | None], ...]


def error_views(run: Run) -> tuple[ErrorView, ...]:
    """Return a view for each row, in the order of the run."""
    found = (_view(row) for row in rows(run, "error_counts") if whole(row, "version") == VERSION)
    return tuple(view for view in found if view is not None)


def _view(row: Row) -> ErrorView | None:
    elements = whole(row, "elements")
    if not elements or elements < 0:
        return None
    cells = _triples(row.get("cells"), 3)
    zeros = _triples(row.get("zero_errors"), 2)
    counts: dict[int, int] = {}
    for error, count in [(cell[1], cell[2]) for cell in cells] + [(z[0], z[1]) for z in zeros]:
        counts[error] = counts.get(error, 0) + count
    span = range(min(counts), max(counts) + 1) if counts else range(0)
    exact = whole(row, "exact") or 0
    total, cumulative = exact, []
    for exponent in span:
        total += counts.get(exponent, 0)
        cumulative.append((exponent + 1, 100.0 * total / elements))
    above = sum(count for magnitude, error, count in cells if error >= magnitude)
    above += sum(count for _, count in zeros)
    return ErrorView(
        subject=text(row, "subject"),
        case=text(row, "case"),
        recipe=text(row, "recipe"),
        tensor=text(row, "tensor"),
        elements=elements,
        cells=tuple((m, e, 100.0 * count / elements) for m, e, count in cells),
        histogram=tuple((k, 100.0 * counts.get(k, 0) / elements) for k in span),
        cumulative=tuple(cumulative),
        exact_percent=100.0 * exact / elements,
        above_percent=100.0 * above / elements,
        non_finite=whole(row, "non_finite") or 0,
        ulp=tuple(
            (words, whole(row, f"ulp_{key}"))
            for key, words in (("p50", "half"), ("p99", "99 %"), ("p999", "99.9 %"), ("max", "all"))
        ),
    )


def _triples(value: object, size: int) -> list[tuple[int, ...]]:
    """Return those items of a list that are ``size`` whole numbers within float64's exponents."""
    found = []
    for item in sequence(value):
        numbers = [as_number(part) for part in sequence(item)]
        if len(numbers) != size or any(n is None or not float(n).is_integer() for n in numbers):
            continue
        triple = tuple(int(n) for n in numbers if n is not None)
        if all(abs(exponent) <= 1100 for exponent in triple[:-1]) and triple[-1] >= 0:
            found.append(triple)
    return found
