"""What devices would make of a package, as far as is published of them: exploratory, never a gate.

A device is run as its profile assumes, then with each other variant of each unknown, which gives a
band; and as if it did one thing better, which says what dominates. All are runs of the executor:
nothing here is a device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.conversion import PrecisionRecipe
from harness.devices import Device, band
from harness.layers import Tensors, branch_checks, stem_checks
from harness.mil import Model
from harness.mil.numerics.device import device_numerics, device_of
from harness.precision.sensitivity import snr_of
from harness.precision.tuning.forms import SUPPOSITIONS
from harness.subjects import Network
from harness.verdicts import Check
from harness.verdicts.rows.packages import Explanation, Step
from harness.workbench.predictions import Prediction

EXPLORATORY: Final = PrecisionRecipe("device", "fp16")
"""Claims no gate."""


@dataclass(frozen=True)
class DevicePrediction:
    """What a device would make of one signal, in SNR against PyTorch.

    Attributes:
        device: its label.
        case: the signal.
        assumed_db: by stem, or by output where there are no stems, as the profile assumes.
        band_db: by the same the lowest and the highest of all variants.
        variants_db: the worst of all stems by what was settled otherwise.
        suppositions_db: the worst of all stems if the device did one thing better, by what.
    """

    device: str
    case: str
    assumed_db: Mapping[str, float]
    band_db: Mapping[str, tuple[float, float]]
    variants_db: Mapping[str, float]
    suppositions_db: Mapping[str, float]

    @property
    def worst(self) -> str:
        """The stem with the lowest SNR."""
        return min(self.assumed_db, key=lambda name: self.assumed_db[name])

    @property
    def dominant(self) -> str:
        """What gains most if the device does it better."""
        return max(self.suppositions_db, key=lambda name: self.suppositions_db[name])

    def step(self, unit: Device) -> Step:
        """Return it in words, with what is measured of the device and what is inferred."""
        low, high = self.band_db[self.worst]
        facts = unit.profile.facts.values()
        measured = sum(fact.origin.basis == "measured" for fact in facts)
        lines = [
            f"{name}: {level:.1f} dB, {self.band_db[name][0]:.1f} to {self.band_db[name][1]:.1f} dB"
            for name, level in self.assumed_db.items()
        ]
        lines += [f"worst with {name}: {db:.1f} dB" for name, db in self.variants_db.items()]
        lines += [f"worst if {name}: {db:.1f} dB" for name, db in self.suppositions_db.items()]
        lines.append(
            f"of the profile {measured} facts are measured, {len(facts) - measured} inferred, and "
            f"{len(unit.profile.unknowns)} properties unknown"
        )
        return Step(
            f"What would {self.device} make of {self.case}?",
            f"{self.worst} is worst, predicted at {self.assumed_db[self.worst]:.1f} dB ({low:.1f} "
            f"to {high:.1f} dB as unknowns are settled); what costs most: {self.dominant}.",
            tuple(lines),
        )


def device_rows(
    model: Model,
    network: Network,
    device: str,
    expected: Tensors,
    inputs: Mapping[str, np.ndarray],
    labels: Mapping[str, str],
) -> Iterator[Check | Explanation]:
    """Yield exploratory checks of a package on a device, and what they come to in words.

    Args:
        model: the package.
        network: that it was made of.
        device: a profile, with settings or without.
        expected: PyTorch's outputs, and stems where there are some.
        inputs: by name.
        labels: of every check; ``case`` among them.

    Raises:
        ParityError: no such device.
    """
    unit, case = device_of(device), labels["case"]

    def run(other: Device) -> Prediction:
        return Prediction(network, model.predict(inputs, numerics=device_numerics(other)))

    assumed = run(unit)
    own = {**labels, "numerics": unit.label}
    pair = expected, assumed.tensors
    yield from branch_checks(*pair, EXPLORATORY, own, outputs=tuple(assumed.outputs))
    if assumed.has_stems:
        yield from stem_checks(expected["stems"], assumed.stems, network.sources, own, gating=False)
    levels = _levels(expected, assumed)
    if not levels:  # silence has no ratio
        return
    settled = {
        other.label: _levels(expected, run(other))
        for other in band(unit.profile)[1:]
        if other.settings.get("placement") == unit.settings.get("placement")  # computes the same
    }
    better = {
        name: min(_levels(expected, run(unit.supposing(**settings))).values())
        for name, settings in SUPPOSITIONS.items()
    }
    every = [levels, *settled.values()]
    ranges = {
        name: (min(some[name] for some in every), max(some[name] for some in every))
        for name in levels
    }
    variants = {name: min(some.values()) for name, some in settled.items()}
    found = DevicePrediction(unit.label, case, levels, ranges, variants, better)
    yield Explanation((found.step(unit),), ())


def _levels(expected: Tensors, made: Prediction) -> dict[str, float]:
    """Return SNR by stem, or by output where there are no stems."""
    if made.has_stems:
        sources = enumerate(made.network.sources)
        pairs = {name: (expected["stems"][index], made.stems[index]) for index, name in sources}
    else:
        pairs = {name: (expected[name], value) for name, value in made.outputs.items()}
    return {name: _snr(*pair) for name, pair in pairs.items() if pair[0].any()}


def _snr(expected: np.ndarray, actual: np.ndarray) -> float:
    wide = expected.astype(np.float64)
    return snr_of(float(np.square(wide - actual).sum() / np.square(wide).sum()))
