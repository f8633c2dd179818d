"""Calibration: if these fail, a Mac's recording is taken for another device, or a stranger's file
for a Mac's recording.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.captures import PROBES, CaptureError, calibrate, probe_inputs, profile_toml
from harness.captures.calibration import ASKED, UNSEEN, predictions, variants
from harness.devices import Device, band, device, parse_profile, shipped_profiles
from suites.selftest.captures.synthetic import PLACE, capture_of, synthetic

EXACT = {name for name, p in PROBES.items() if "accumulator" not in " ".join(p.asks)}


def check_identified(seed: int) -> None:
    """The profile is found, and each fact against it, and each unknown as it is, by outputs alone."""
    hidden = synthetic(seed)
    found = calibrate(capture_of(hidden.device), PLACE)
    assert found.identified
    assert all(finding.differing == 0 for finding in found.findings)
    match = next(m for m in found.matches if m.profile == hidden.device.profile)
    assert {name: values[0] for name, values in match.against.items()} == hidden.changed
    for name, values in found.rules.items():
        assert hidden.device.settings.get(name, values[0]) in values
    # What stays open is what no output shows: a bias beside a sum that is kept in FP16 anyway.
    assert set(found.open) <= {"bias"}
    assert not found.open or hidden.device.settings["accumulator"] == "sequential_fp16"


@pytest.mark.parametrize("seed", [0, 1, 7, 11])
def test_a_synthetic_device_is_identified(seed: int) -> None:
    check_identified(seed)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(20))
def test_twenty_synthetic_devices_are_identified(seed: int) -> None:
    check_identified(seed)


@pytest.mark.parametrize("name", shipped_profiles())
def test_each_shipped_profile_is_found_as_itself(name: str) -> None:
    found = calibrate(capture_of(device(name)), PLACE)
    assert [match.profile.name for match in found.matches] == [name]
    assert not found.matches[0].against
    assert not found.matches[0].unusual


def test_what_no_probe_shows_is_named() -> None:
    assert set(UNSEEN) == {"slice_gain", "fp32", "fp32_operands", "placement"}


def test_a_probe_depends_on_nothing_else_than_it_says() -> None:
    """Else what it allows would be wrong on a device that differs elsewhere."""
    for name in ASKED:
        for value in variants(name):
            made = capture_of(device("ane-m1").supposing(**{name: value})).outputs
            for probe in PROBES.values():
                if name not in probe.asks:
                    usual = capture_of_m1().outputs[probe.name]
                    assert np.array_equal(made[probe.name], usual, equal_nan=True), (name, probe)


def capture_of_m1():
    return capture_of(device("ane-m1"))
