"""What devices would make of a package, as far as is published of them: exploratory, never a gate.

A device is run as its profile assumes, then with each other variant of each unknown, which gives a
band; and as if it did one thing better, which says what dominates. All are runs of the executor:
nothing here is a device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    yield Explanation((_step(unit, case, levels, ranges, variants, better),), ())


def _step(
    unit: Device,
    case: str,
    assumed_db: Mapping[str, float],
    band_db: Mapping[str, tuple[float, float]],
    variants_db: Mapping[str, float],
    suppositions_db: Mapping[str, float],
) -> Step:
    """Return in words what a device would make of a signal, in SNR against PyTorch.

    Args:
        unit: with what is measured of it and what is inferred.
        case: the signal.
        assumed_db: by stem, or by output where there are no stems, as the profile assumes.
        band_db: by the same the lowest and the highest of all variants.
        variants_db: the worst of all stems by what was settled otherwise.
        suppositions_db: the worst of all stems if the device did one thing better, by what.
    """
    worst = min(assumed_db, key=lambda name: assumed_db[name])
    dominant = max(suppositions_db, key=lambda name: suppositions_db[name])
    low, high = band_db[worst]
    facts = unit.profile.facts.values()
    measured = sum(fact.origin.basis == "measured" for fact in facts)
    lines = [
        f"{name}: {level:.1f} dB, {band_db[name][0]:.1f} to {band_db[name][1]:.1f} dB"
        for name, level in assumed_db.items()
    ]
    lines += [f"worst with {name}: {db:.1f} dB" for name, db in variants_db.items()]
    lines += [f"worst if {name}: {db:.1f} dB" for name, db in suppositions_db.items()]
    lines.append(
        f"of the profile {measured} facts are measured, {len(facts) - measured} inferred, and "
        f"{len(unit.profile.unknowns)} properties unknown"
    )
    return Step(
        f"What would {unit.label} make of {case}?",
        f"{worst} is worst, predicted at {assumed_db[worst]:.1f} dB ({low:.1f} to {high:.1f} dB as "
        f"unknowns are settled); what costs most: {dominant}.",
        tuple(lines),
    )


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
