"""Calibration: if these fail, a Mac's recording is taken for another device's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.captures import (
    PROBES,
    Calibration,
    Capture,
    calibrate,
    probe_inputs,
    probe_package,
    profile_toml,
)
from harness.captures.calibration import ASKED, UNSEEN, predictions, variants
from harness.devices import Device, ProfileError, device, parse_profile, shipped_profiles
from harness.mil.numerics.device import device_numerics
from suites.selftest.captures.synthetic import PLACE, Synthetic, capture_of, synthetic


def hidden_by_others(unit: Device) -> set[str]:
    """Return the properties that no output of a device shows, whatever is computed."""
    settings, found = unit.settings, set()
    if settings["accumulator"] == settings["convolution_accumulator"] == "sequential_fp16":
        found.add("bias")  # the sum to which it is added is FP16 anyway
    if settings["elementwise_subnormals"] == "flushed":
        found.add("product_subnormals")  # they are gone before a product sees them
    return found


def found_by_outputs(hidden: Synthetic) -> Calibration:
    """Calibrate by a device's outputs, and check that its rules are among those that are found."""
    found = calibrate(capture_of(hidden.device), PLACE)
    assert found.identified
    assert all(finding.differing == 0 for finding in found.findings)
    for name, values in found.rules.items():
        assert hidden.device.settings.get(name, values[0]) in values
    assert set(found.open) <= hidden_by_others(hidden.device)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_synthetic_device_is_identified(seed: int) -> None:
    hidden = synthetic(seed)
    found = found_by_outputs(hidden)
    match = next(m for m in found.matches if m.profile == hidden.device.profile)
    assert {name: values[0] for name, values in match.against.items()} == hidden.changed
    for name, values in match.unusual.items():
        assert hidden.device.settings[name] in values


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(20, 300))
def test_the_rules_of_any_mixture_are_found(seed: int) -> None:
    """Two changes can make one profile another, so the nearest may be a nearer one."""
    hidden = synthetic(seed)
    found = found_by_outputs(hidden)
    assert len(found.matches[0].against) <= len(hidden.changed)


@pytest.mark.parametrize("name", shipped_profiles())
def test_each_shipped_profile_is_found_as_itself(name: str) -> None:
    found = found_by_outputs(Synthetic(device(name), {}))
    assert [match.profile.name for match in found.matches] == [name]
    assert not found.matches[0].against
    assert not found.matches[0].unusual


def test_what_no_probe_shows_is_named() -> None:
    elsewhere = {"slice_gain", "fp32", "fp32_operands", "placement"}
    assert set(UNSEEN) == {"transposed_convolution", *elsewhere}


@pytest.mark.parametrize("name", ["ane-m1", "cpu-bnns"])
def test_a_probe_depends_on_nothing_else_than_it_says(name: str) -> None:
    """Else it would exclude rules that hold, on a device that differs elsewhere."""
    usual = device("ane-m1").supposing(**device(name).settings)
    with probe_package() as model:

        def made_by(unit: Device) -> dict[str, np.ndarray]:
            return model.predict(probe_inputs(), numerics=device_numerics(unit))

        expected = made_by(usual)
        for asked in ASKED:
            for value in variants(asked):
                made = made_by(usual.supposing(**{asked: value}))
                changed = [
                    probe.name
                    for probe in PROBES.values()
                    if asked not in probe.asks
                    and not np.array_equal(made[probe.name], expected[probe.name], equal_nan=True)
                ]
                assert not changed, f"{asked}={value}"


def test_each_property_changes_a_probe_that_asks_it() -> None:
    """Else what is printed as measured never was."""
    for asked in ASKED:
        outputs = {
            (probe.name, made.tobytes())
            for probe in PROBES.values()
            if asked in probe.asks
            for _, made in predictions()[probe.name]
        }
        assert len(outputs) > sum(asked in probe.asks for probe in PROBES.values()), asked


def changed(capture: Capture, probe: str, count: int, units: int) -> Capture:
    """Return a capture in which some elements of a probe are so many units further from 0."""
    values = capture.outputs[probe].astype(np.float16)
    values.reshape(-1).view(np.int16)[:count] += units
    return replace(capture, outputs={**capture.outputs, probe: values})


def test_a_unit_in_the_last_place_here_and_there_is_rounding() -> None:
    taken = changed(capture_of(device("ane-m1")), "sigmoid", 5, 1)
    found = calibrate(taken, PLACE)
    assert [match.profile.name for match in found.matches] == ["ane-m1"]
    told = next(f for f in found.findings if f.probe.name == "sigmoid")
    assert "5 of 2048 elements differ from the nearest rules, by at most 1 unit" in told.words


@pytest.mark.parametrize("probe", ["gelu", "matmul", "layer_norm", "nan"])
def test_what_no_rules_explain_is_not_identified(probe: str) -> None:
    found = calibrate(changed(capture_of(device("ane-m1")), probe, 3, 900), PLACE)
    assert not found.identified
    assert [f.probe.name for f in found.findings if not f.explained] == [probe]
    with pytest.raises(ProfileError, match="no profile to write"):
        profile_toml("mine", found, capture_of(device("ane-m1")))


def test_probes_of_two_devices_are_not_identified_together() -> None:
    """Each is explained: a package that was split between two units."""
    one, other = capture_of(device("ane-m1")), capture_of(device("gpu"))
    mixed = replace(one, outputs={**one.outputs, "tanh": other.outputs["tanh"]})
    found = calibrate(mixed, PLACE)
    assert all(finding.explained for finding in found.findings)
    assert not found.identified
    assert found.contradictions["activations"]["rounded_once"] == ("tanh", "layer_norm")
    assert "tanh" not in found.contradictions["activations"]["tables"]


@pytest.mark.parametrize("seed", range(6))
def test_the_profile_that_is_written_computes_what_was_captured(seed: int) -> None:
    hidden = synthetic(seed)
    taken = capture_of(hidden.device)
    text = profile_toml("mine", calibrate(taken, PLACE), taken)
    made = capture_of(device(parse_profile(text, "mine.toml"))).outputs
    for name, value in taken.outputs.items():
        assert np.array_equal(made[name], value, equal_nan=True), name


def test_a_written_profile_says_what_was_measured_and_what_was_not() -> None:
    taken = capture_of(device("ane-m1", tile_alignment="nearest"))
    profile = parse_profile(profile_toml("mine", calibrate(taken, PLACE), taken), "mine.toml")
    assert profile.facts["tile_alignment"].value == "nearest"
    assert profile.facts["tile_alignment"].origin.confidence == "high"
    assert "CPU_AND_NE, synthetic" in profile.facts["tile_alignment"].origin.source
    assert set(profile.unknowns) == {"placement"}
    assert profile.facts["slice_gain"] == shipped_profiles()["ane-m1"].facts["slice_gain"]
