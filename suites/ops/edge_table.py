"""The table of docs/operations.md that says, of each operation, which edges were looked at.

``python -m suites.ops.edge_table`` writes it there; a test holds the page to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.atomic import atomic_file
from harness.mil.ops.registry import known_types
from suites.ops.cases_edges import EDGES
from suites.ops.edges import NO_EDGES, TO_INTEGERS, drawn_cases
from suites.ops.inference import inferring_types

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
_BEGIN = "| NaN, infinities, zeros, subnormals | value inference | operations |\n"

# Where coremltools folds constants otherwise than its own text says, each with the reason.
FOLDED_OTHERWISE = {
    "band_part": "multiplies by zero: infinity outside the band is NaN, and is to be set to zero",
    "reduce_log_sum_exp": "subtracts an infinite maximum: its reference, TensorFlow's, does not",
}


# It raises NotImplementedError for the one, and has no integer for what the others are drawn with.
NOT_FOLDED = {"reverse_sequence", *TO_INTEGERS}


def folded() -> set[str]:
    """Return the types whose draws coremltools' value inference is compared on."""
    return {case.op for case in drawn_cases()} & inferring_types() - NOT_FOLDED


def rows() -> Iterator[str]:
    """Yield the lines of the table; operations that were looked at alike share a row."""
    drawn = {case.op for case in drawn_cases()}
    inferring = folded()
    alike: dict[tuple[str, str], list[str]] = {}
    for op in known_types():
        own = sum(case.op == op for case in EDGES)
        numbers = "drawn" if op in drawn else NO_EDGES.get(op, "rows of its own alone")
        if op in TO_INTEGERS:
            numbers = "zeros and subnormals drawn"
        second = FOLDED_OTHERWISE.get(op, "agrees") if op in inferring else ""
        shown = f"`{op}`" + (f" +{own}" if own else "")
        alike.setdefault((numbers, second), []).append(shown)
    yield _BEGIN
    yield "|---|---|---|\n"
    for (numbers, second), operations in sorted(alike.items(), key=lambda row: -len(row[1])):
        yield f"| {numbers} | {second} | {', '.join(operations)} |\n"


def written(page: str) -> str:
    """Return ``page`` with the table of today."""
    before, _, after = page.partition(_BEGIN)
    rest = after.splitlines(keepends=True)
    while rest and rest[0].startswith("|"):
        rest.pop(0)
    return before + "".join(rows()) + "".join(rest)


def main() -> None:
    """Write the table to the page."""
    page = PAGE.read_text("utf-8")
    with atomic_file(PAGE) as temporary:
        temporary.write_text(written(page), "utf-8")


if __name__ == "__main__":
    main()
