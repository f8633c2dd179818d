"""The project's gates, asked while a mutated program runs.

They are those of the layered suites, from the one table: ``expected_precision_fp32`` at every tap
and on both outputs, ``conversion`` on both outputs, ``end_to_end`` on every stem. The expected
tensors are PyTorch's. A mutant is seen by the first check that fails, in the order in which values
are made: tap by tap, then the outputs, then the stems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from harness.conversion import TapLocation
from harness.verdicts import LABELS, Outcome, Verdict, compare, gate
from harness.workbench import stem_checks, stems_of

TAP_GATE = "expected_precision_fp32"
OUTPUT_GATES = ("expected_precision_fp32", "conversion")


@dataclass(frozen=True)
class Sighting:
    """A check that failed on a mutant.

    Attributes:
        layer, gate: of the check.
        tensor: ``tap NAME``, an output or a stem.
        excess_db: how far beyond its bound, in dB; None where no distance exists (NaN, say).
    """

    layer: str
    gate: str
    tensor: str
    excess_db: float | None


class Judge:
    """The expected tensors of one case.

    Args:
        outputs: what the program should return, by name.
        taps: what inner values should be, by tap name, in PyTorch's layout.
        located: where each of these taps is in the program.
        stems: [S, 2, n], what ``freq`` and ``time`` should come to; None where there are none.
        subject: names the stems.
    """

    def __init__(
        self,
        outputs: Mapping[str, np.ndarray],
        taps: Mapping[str, np.ndarray] | None = None,
        located: Mapping[str, TapLocation] | None = None,
        stems: np.ndarray | None = None,
        subject: str = "",
    ) -> None:
        self._outputs, self._taps, self._stems = outputs, taps or {}, stems
        self._subject = subject
        self._at: dict[str, list[tuple[str, TapLocation]]] = {}
        for tap in self._taps:
            location = (located or {})[tap]
            self._at.setdefault(location.output, []).append((tap, location))

    def at(self, name: str, value: torch.Tensor) -> Sighting | None:
        """Return what is wrong with a value of the program, if it is a tap."""
        for tap, location in self._at.get(name, ()):
            array = value.numpy()
            if location.permutation is not None:
                array = np.transpose(array, location.permutation)
            outcome = compare(self._taps[tap], np.ascontiguousarray(array), gate(TAP_GATE))
            if outcome.verdict is not Verdict.PASS:
                return Sighting("conversion", TAP_GATE, f"tap {tap}", excess_db(outcome))
        return None

    def end(self, outputs: Mapping[str, np.ndarray]) -> Sighting | None:
        """Return what is wrong with what the program returned."""
        for name in OUTPUT_GATES:
            for tensor, expected in self._outputs.items():
                outcome = compare(expected, outputs[tensor], gate(name))
                if outcome.verdict is not Verdict.PASS:
                    return Sighting("conversion", name, tensor, excess_db(outcome))
        if self._stems is None:
            return None
        return first_failing_stem(self._stems, stems_of(outputs), self._subject)


@dataclass(frozen=True)
class Change:
    """What a mutation does to what the program returns, on one input.

    Attributes:
        input: which one.
        snr_db: of the unmutated program's outputs to the difference, the lower of both branches;
            ``inf`` if no bit changed.
        matters: whether an output changed by more than its tolerance: a branch by more than the
            ``conversion`` gate lets pass, or a stem by more than ``end_to_end`` does.
    """

    input: str
    snr_db: float
    matters: bool


class Original:
    """What the unmutated program returns on one input.

    Args:
        input: which one.
        outputs: by name.
        subject: whose stems ``freq`` and ``time`` come to; "" where there are none.
    """

    def __init__(self, input: str, outputs: Mapping[str, np.ndarray], subject: str) -> None:
        self._input, self._outputs, self._subject = input, outputs, subject

    @cached_property
    def _stems(self) -> np.ndarray:
        return stems_of(self._outputs)

    def change(self, outputs: Mapping[str, np.ndarray]) -> Change:
        """Measure what a mutant returned against it."""
        pairs = [(expected, outputs[name]) for name, expected in self._outputs.items()]
        if all(np.array_equal(expected, actual) for expected, actual in pairs):
            return Change(self._input, math.inf, False)
        outcomes = [compare(expected, actual, gate("conversion")) for expected, actual in pairs]
        matters = any(outcome.verdict is not Verdict.PASS for outcome in outcomes)
        if not matters and self._subject:
            stems = stems_of(outputs)
            matters = first_failing_stem(self._stems, stems, self._subject) is not None
        ratios = [outcome.metrics["snr_db"] for outcome in outcomes]
        return Change(self._input, min(ratios), matters)


def first_failing_stem(expected: np.ndarray, actual: np.ndarray, subject: str) -> Sighting | None:
    """Return the first check of the end-to-end layer that fails."""
    for check in stem_checks(expected, actual, subject, {}):
        if check.verdict is not Verdict.PASS:
            where = " ".join(check.labels[name] for name in LABELS if name in check.labels)
            return Sighting("end_to_end", "end_to_end", where, excess_db(check.outcome))
    return None


def excess_db(outcome: Outcome) -> float | None:
    """Return how far beyond its bound a check is."""
    return None if outcome.headroom_db is None else -outcome.headroom_db


def arrays(values: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return tensors as arrays."""
    return {name: tensor.numpy() for name, tensor in values.items()}
