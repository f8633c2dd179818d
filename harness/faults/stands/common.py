"""What the stands share: findings from the project's own comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.errors import ParityError
from harness.faults.judging import Finding, digest
from harness.verdicts import compare, compare_worst_second, failed, gate

CHANNELS = ("left", "right")


def compared(
    layer: str, gate_name: str, what: str, expected: np.ndarray, actual: np.ndarray
) -> Finding:
    """Compare two tensors under a gate of the table."""
    outcome = compare(expected, actual, gate(gate_name))
    return Finding(layer, gate_name, what, outcome, digest(actual))


def judged(layer: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Pass on ``findings``; what can't be executed is a finding of ``layer``, too."""
    try:
        yield from findings
    except (ParityError, RuntimeError) as error:  # PyTorch refuses shapes by RuntimeError
        yield refused(layer, "execution", ParityError(str(error)))


def refused(layer: str, rule: str, error: ParityError) -> Finding:
    """Return the finding of a candidate that could not even be executed, or was refused."""
    reason = f"{type(error).__name__}: {error}"
    return Finding(layer, rule, "execution", failed(reason), digest(reason))


def stem_findings(
    expected: np.ndarray, actual: np.ndarray, sources: Sequence[str]
) -> Iterator[Finding]:
    """Judge stems [S, 2, n] as the end-to-end suite does: whole, each channel, worst second."""
    if expected.shape != actual.shape:
        yield compared("end_to_end", "end_to_end", "all stems", expected, actual)
        return
    for index, stem in enumerate(sources):
        one, other = expected[index], actual[index]
        yield compared("end_to_end", "end_to_end", stem, one, other)
        for channel, name in enumerate(CHANNELS):
            what = f"{stem} {name}"
            yield compared("end_to_end", "end_to_end", what, one[channel], other[channel])
        outcome = compare_worst_second(one, other, gate("end_to_end"))
        what = f"{stem} worst second"
        yield Finding("end_to_end", "end_to_end", what, outcome, digest(other))
