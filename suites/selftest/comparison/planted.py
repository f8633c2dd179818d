"""Mistakes with known causes, planted in stems and spectrograms, and what `compare` says to them.

``python -m suites.selftest.comparison.planted`` judges all of them and prints the confusion table
that docs/comparing.md shows. Everything comes from seeds. The mistakes are made by other means than
those by which they are recognised: shifts by a fraction through a phase ramp, filters by SciPy,
wrong transforms by a port in NumPy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.comparison import ComparisonRequest, ComparisonRow, judge
from harness.comparison.inputs import Tensor
from harness.comparison.pairing import Pair
from harness.verdicts import Verdict
from suites.selftest.comparison import planted_in_spectra, planted_in_stems, planted_outcomes
from suites.selftest.comparison.planting import (
    EXACT,
    PASSES,
    ROWS,
    TRUTHS,
    UNDER_NOISE,
    UNEXPLAINED,
    Maker,
    Planted,
)

PLANTED = (planted_outcomes, planted_in_stems, planted_in_spectra)
"""In the order of their cases: a case's number is its seed."""


def planted() -> Iterator[Planted]:
    """Make every case, one after the other."""
    for index, (truth, name, maker) in enumerate(_plan()):
        yield _made(index, truth, name, maker)


def sample(step: int) -> Iterator[Planted]:
    """Make every ``step``-th case."""
    for index, (truth, name, maker) in enumerate(_plan()):
        if index % step == 0:
            yield _made(index, truth, name, maker)


def _plan() -> list[tuple[str, str, Maker]]:
    order = [module.__name__ for module in PLANTED]
    rows = sorted(ROWS, key=lambda row: order.index(row[3].__module__))
    return [(truth, name, maker) for truth, name, count, maker in rows for _ in range(count)]


def _made(index: int, truth: str, name: str, maker: Maker) -> Planted:
    rng = np.random.default_rng([2026, index])
    made = maker(rng)
    gate = made[2] if len(made) == 3 else None
    expected, actual = made[:2]
    if name == "stems" and truth in UNDER_NOISE and index % 2:
        noise = rng.standard_normal(actual.shape) * 10 ** (-rng.uniform(64, 90) / 20)
        actual = actual + noise * np.sqrt(np.mean(expected**2, axis=2, keepdims=True))
    expected, actual = (np.ascontiguousarray(it, dtype=np.float32) for it in (expected, actual))
    return Planted(index, truth, name, expected, actual, gate)


def answer(case: Planted) -> str:
    """Return what the comparison says: a cause, or `EXACT`, `PASSES` or `UNEXPLAINED`."""
    here = Path("planted")
    pair = Pair(case.name, Tensor(here, lambda: case.expected), Tensor(here, lambda: case.actual))
    findings = judge(pair, (), ComparisonRequest(case.gate))
    bad = [row for row in findings if row.outcome.verdict is not Verdict.PASS]
    if bad:
        return _cause(bad)
    return EXACT if all(row.outcome.observed == "exact" for row in findings) else PASSES


def _cause(bad: list[ComparisonRow]) -> str:
    cause = next((row.cause for row in bad if row.cause is not None), None)
    return UNEXPLAINED if cause is None else cause.name


def confusion(answers: list[tuple[str, str]]) -> str:
    """Return the table of (planted, said) as Markdown."""
    lines = ["| planted | cases | named | said instead |", "|---|---|---|---|"]
    for truth in TRUTHS:
        said = Counter(answer for planted_, answer in answers if planted_ == truth)
        if not said:
            continue
        wrong = ", ".join(f"{name} ({n})" for name, n in sorted(said.items()) if name != truth)
        lines.append(f"| {truth} | {said.total()} | {said[truth]} | {wrong} |")
    right = sum(planted_ == said for planted_, said in answers)
    lines.append(f"| all | {len(answers)} | {right} ({100 * right / len(answers):.1f} %) | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(confusion([(case.truth, answer(case)) for case in planted()]), end="")
