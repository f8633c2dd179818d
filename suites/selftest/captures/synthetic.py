"""Devices that nobody has: a shipped profile, its unknowns settled by a seed, some facts otherwise.

Their captures are made by executing the package of probes with the device as numerics, all
operations by one and the same, which calibration never does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.captures import Capture, probe_inputs, probe_package
from harness.captures.calibration import ASKED, variants
from harness.captures.recorder import FORMAT, write
from harness.devices import Device, device, shipped_profiles
from harness.devices.properties import Setting
from harness.mil.numerics.device import device_numerics


@dataclass(frozen=True)
class Synthetic:
    """A device of a seed.

    Attributes:
        device: how it computes.
        changed: the facts of its profile that don't hold, with what does.
    """

    device: Device
    changed: dict[str, Setting]


def synthetic(seed: int) -> Synthetic:
    """Return the device of a seed: every second one has a fact otherwise, every fourth has two."""
    random = np.random.default_rng(seed)
    profiles = list(shipped_profiles().values())
    profile = profiles[seed % len(profiles)]
    unknowns = {
        name: unknown.variants[random.integers(len(unknown.variants))]
        for name, unknown in profile.unknowns.items()
    }
    found = device(profile, **unknowns)
    changed: dict[str, Setting] = {}
    for _ in range((seed % 2) + (seed % 4 == 3)):
        # Without a table no profile can have its activations from tables.
        facts = [name for name in ASKED if name in profile.facts and name != "activations"]
        name = facts[random.integers(len(facts))]
        others = [v for v in variants(name) if v not in profile.values(name)]
        changed[name] = others[random.integers(len(others))]
    return Synthetic(found.supposing(**changed), changed)


def capture_of(unit: Device) -> Capture:
    """Return what ``unit`` makes of the probes."""
    with probe_package() as model:
        outputs = model.predict(probe_inputs(), numerics=device_numerics(unit))
    return Capture.of(
        probe_inputs(), outputs, compute_unit="CPU_AND_NE", device="synthetic", system="none"
    )


def write_capture(path: Path, capture: Capture) -> None:
    """Write a capture as the recorder does."""
    metadata = {"format": FORMAT, "inputs": capture.inputs, **capture.origin}
    write(path, capture.outputs, metadata)


PLACE = Path("capture.safetensors")
