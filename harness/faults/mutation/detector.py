"""The project's gates, asked while a mutated program runs.

They are those of the layered suites, from the one table: ``expected_precision_fp32`` at every tap
and on both outputs, ``conversion`` on both outputs, ``end_to_end`` on every stem. The expected
tensors are PyTorch's. A mutant is seen by the first check that fails, in the order in which values
are made: tap by tap, then the outputs, then the stems.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
import torch

from harness.conversion import TapLocation, load_recipe
from harness.layers import (
    Tensors,
    branch_checks,
    first_failing,
    precision_checks,
    reaches_fp32_check,
    stem_checks,
)
from harness.subjects import stems_of
from harness.subjects.htdemucs import BRANCHES
from harness.verdicts import LABELS, Check

_FP32: Final = load_recipe("fp32")
"""What the mutated programs are made by: the sharpest gates there are."""


@dataclass(frozen=True)
class Detection:
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


class Detector:
    """The expected tensors of one case.

    Args:
        expected: by the names of a golden: outputs, taps, stems.
        taps: where inner values are in the program, each with an expected one.
        outputs: of the program.
        sources: names of the stems; none where ``expected`` has no stems.
    """

    def __init__(
        self,
        expected: Tensors,
        taps: Mapping[str, TapLocation] = MappingProxyType({}),
        outputs: Sequence[str] = BRANCHES,
        sources: Sequence[str] = (),
    ) -> None:
        self._expected, self._outputs, self._sources = expected, tuple(outputs), sources
        self._at: dict[str, list[tuple[str, TapLocation]]] = {}
        for tap, location in taps.items():
            self._at.setdefault(location.output, []).append((tap, location))

    def at(self, name: str, value: torch.Tensor) -> Detection | None:
        """Return what is wrong with a value of the program, if it is a tap."""
        return _detection(
            reaches_fp32_check(
                self._expected,
                {f"tap.{tap}": location.in_torch_layout(value.numpy())},
                f"tap.{tap}",
                {},
            )
            for tap, location in self._at.get(name, ())
        )

    def end(self, outputs: Mapping[str, np.ndarray]) -> Detection | None:
        """Return what is wrong with what the program returned."""
        return _detection(self._end(outputs))

    def _end(self, outputs: Mapping[str, np.ndarray]) -> Iterator[Check]:
        expected, names = self._expected, self._outputs
        yield from precision_checks(expected, outputs, None, _FP32, (), {}, outputs=names)
        yield from branch_checks(expected, outputs, _FP32, {}, outputs=names)
        if self._sources:
            stems = stems_of(outputs)
            yield from stem_checks(expected["stems"], stems, self._sources, {})


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


@dataclass(frozen=True, eq=False)
class UnmutatedOutputs:
    """What the unmutated program returns on one input.

    Attributes:
        input: which one.
        outputs: by name.
        sources: names of the stems that ``freq`` and ``time`` come to; none where there are none.
    """

    input: str
    outputs: Mapping[str, np.ndarray]
    sources: Sequence[str] = ()

    @cached_property
    def _stems(self) -> np.ndarray:
        return stems_of(self.outputs)

    def change(self, outputs: Mapping[str, np.ndarray]) -> Change:
        """Measure what a mutant returned against it."""
        pairs = [(expected, outputs[name]) for name, expected in self.outputs.items()]
        if all(np.array_equal(expected, actual) for expected, actual in pairs):
            return Change(self.input, math.inf, False)
        names = tuple(self.outputs)
        checks = list(branch_checks(self.outputs, outputs, _FP32, {}, outputs=names))
        matters = first_failing(checks) is not None
        if not matters and self.sources:
            stems = stem_checks(self._stems, stems_of(outputs), self.sources, {})
            matters = first_failing(stems) is not None
        ratios = [check.outcome.metrics["snr_db"] for check in checks]
        return Change(self.input, min(ratios), matters)


def _detection(checks: Iterable[Check]) -> Detection | None:
    """Return the first check that fails; those after it are not made."""
    check = first_failing(checks)
    if check is None or check.gate is None:
        return None
    where = " ".join(check.labels[name] for name in LABELS if name in check.labels)
    headroom = check.outcome.headroom_db
    return Detection(check.layer, check.gate.name, where, None if headroom is None else -headroom)
