"""The worst split of a program over units, from adjoints and each unit's errors.

With b_iu the error that operation i makes of what is measured when unit u runs it, to first order,
a split p has the error b(p) = sum(b_i,p(i)), and its energy |b(p)|^2 is what is to be greatest. The
terms don't just add up: what comes from one cause in two operations, such as a table, or bits that
are always cut off, adds or cancels. For each operation the others make c = b(p) - b_i,p(i), and on
unit u it would be

    |c + b_iu|^2 = |c|^2 + 2 c . b_iu + |b_iu|^2.

The last term is the share of the operation on that unit, told by random probes in one walk back.
The second asks for b(p) . b_iu of every operation and unit: one walk back from b(p) itself, the
error of the split as it was executed; what one operation's errors on two units have in common,
b_i,p(i) . b_iu, is left out, since no share tells it. All operations then take the unit of the
greatest energy, and the new split is executed: |b|^2 is convex in the weights of its terms, so to
first order a step up its tangent never lowers it. The steps begin with several splits and end where
none is worse.

What is returned was executed. It is the worst of what these steps reach, and no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from harness.mil import Model
from harness.precision.placement.units import UNITS, Machine, Split
from harness.precision.sensitivity import ShareEstimator, SignalMeasure, audible, snr_of
from harness.precision.sensitivity.measures import Measure
from harness.precision.sensitivity.on_units import WIDE, UnitErrors
from harness.precision.sensitivity.sites import Site

Tensor: TypeAlias = torch.Tensor
Array: TypeAlias = npt.NDArray[np.float64]
Outputs: TypeAlias = Mapping[str, Tensor]

PROBES: Final = 4
"""Random ones for each measure."""
ROUNDS: Final = 4
"""Steps up at most: from the third on little was gained wherever it was tried."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A split and what became of the program.

    Attributes:
        name: what led to it.
        split: of its operations.
        outputs: of the program.
        measured_db: SNR by measure.
    """

    name: str
    split: Split
    outputs: Outputs
    measured_db: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Floor:
    """The worst that a measure comes to.

    Attributes:
        measure: its name.
        worst: the split, as executed.
        tried: SNR of all splits that were executed, by what led to them.
    """

    measure: str
    worst: Placed
    tried: Mapping[str, float]

    @property
    def db(self) -> float:
        """SNR of the worst split."""
        return self.worst.measured_db[self.measure]


def find_floor(
    model: Model,
    machine: Machine,
    inputs: Mapping[str, Tensor],
    expected: Outputs,
    measures: Sequence[SignalMeasure],
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Floor, ...]:
    """Return the floor of each measure that ``expected`` is not silent in.

    Args:
        model: a program; what it computes in FP16 is split.
        machine: over whose units it is split.
        inputs: float32, on the device to work on.
        expected: what the outputs should be.
        measures: of the error.
        advance: called as ``advance(done, total)`` with executed splits, and the most there can be.
    """
    heard = audible(measures, expected)
    if not heard:
        return ()
    search = _Search(model, machine, inputs, expected, heard, advance)
    search.begin()
    search.climb()
    return search.floors()


class _Search:
    def __init__(
        self,
        model: Model,
        machine: Machine,
        inputs: Mapping[str, Tensor],
        expected: Outputs,
        measures: Sequence[SignalMeasure],
        advance: Callable[[int, int], None],
    ) -> None:
        self._advance, self._most = advance, len(UNITS) + (1 + ROUNDS) * len(measures)
        self._model, self._machine, self._inputs = model, machine, inputs
        self._expected, self._measures = expected, measures
        device = next(iter(inputs.values())).device
        errors = UnitErrors(model, machine.units, machine.able(model), device)
        self._estimator = ShareEstimator(model, errors, inputs, numerics=WIDE)
        self._shares: Mapping[Site, Array] = {}
        self._done: list[Placed] = []

    def begin(self) -> None:
        """Execute the splits to begin with: each unit alone, and the greatest shares."""
        generator, at_once = torch.Generator().manual_seed(0), PROBES * len(self._measures)
        self._shares = self._estimator.expected(self._measures, PROBES, generator, at_once=at_once)
        for unit in UNITS:
            self._execute(f"all on {unit}", self._machine.all_on(self._model, unit))
        for index, measure in enumerate(self._measures):
            scores = {site: row[index] for site, row in self._shares.items()}
            self._execute(f"greatest shares of {measure.name}", _best(scores))

    def climb(self) -> None:
        """Step up from the worst split of each measure until none is worse."""
        open_ = dict(enumerate(self._measures))
        for number in range(1, ROUNDS + 1):
            steps = self._steps(open_)
            for index, split in steps.items():
                name = self._measures[index].name
                before = self._worst(name).measured_db[name]
                made = self._execute(f"step {number} of {name}", split)
                if made.measured_db[name] >= before:
                    del open_[index]
            if not open_:
                return

    def floors(self) -> tuple[Floor, ...]:
        """Return what was found."""
        return tuple(
            Floor(
                measure.name,
                self._worst(measure.name),
                {placed.name: placed.measured_db[measure.name] for placed in self._done},
            )
            for measure in self._measures
        )

    def _steps(self, open_: Mapping[int, SignalMeasure]) -> dict[int, Split]:
        """Return for each measure the split that is greatest along the tangent of its worst."""
        worst = {index: self._worst(measure.name) for index, measure in open_.items()}
        fields: dict[Measure, list[Tensor]] = {
            measure: [measure.field(self._expected, self._error(worst[index]))]
            for index, measure in open_.items()
        }
        products = self._estimator.products(fields)
        found: dict[int, Split] = {}
        for index, measure in open_.items():
            split, scores = worst[index].split, {}
            for site, share in self._shares.items():
                along = float(products[measure].get(site, np.zeros(1))[0])
                here = split.get(site.operation) == site.error
                scores[site] = 2 * along + (-share[index] if here else share[index])
            found[index] = _best(scores)
        return found

    def _error(self, placed: Placed) -> dict[str, Tensor]:
        return {n: placed.outputs[n].double() - e.double() for n, e in self._expected.items()}

    def _execute(self, name: str, split: Split) -> Placed:
        self._advance(len(self._done), self._most)
        outputs = self._model.run(self._inputs, operation_numerics=self._machine.numerics(split))
        levels = {m.name: snr_of(m.of(self._expected, outputs)) for m in self._measures}
        self._done.append(Placed(name, split, outputs, levels))
        return self._done[-1]

    def _worst(self, measure: str) -> Placed:
        return min(self._done, key=lambda placed: placed.measured_db[measure])


def _best(scores: Mapping[Site, float]) -> dict[str, str]:
    """Return the unit with the greatest score, by operation."""
    found: dict[str, tuple[float, str]] = {}
    for site, score in scores.items():
        if site.operation not in found or score > found[site.operation][0]:
            found[site.operation] = score, site.error
    return {name: unit for name, (_, unit) in found.items()}
