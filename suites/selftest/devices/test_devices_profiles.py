"""Profiles as data: each line has its source, nothing is left open in silence, errors are named."""

from __future__ import annotations

import math
from importlib.resources import files

import pytest

from harness.devices import ProfileError, load_profile, parse_profile, shipped_profiles
from harness.devices.properties import PROPERTIES
from harness.errors import UnknownNameError


def text(name: str = "ane-m1") -> str:
    return files("harness.devices").joinpath("profiles", f"{name}.toml").read_text()


def test_the_units_that_matter_have_a_profile():
    assert set(shipped_profiles()) == {
        "ane-m1",
        "ane-m5",
        "gpu",
        "gpu-m5",
        "cpu-bnns",
        "coreai-cpu",
    }
    for name, profile in shipped_profiles().items():
        assert profile.name == name


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
def test_what_nobody_published_is_an_unknown(name):
    """A value without a publication may not pass for high confidence or a measurement."""
    profile = load_profile(name)
    for fact in profile.facts.values():
        if "nothing is published" in fact.origin.source:
            assert (fact.origin.confidence, fact.origin.basis) == ("low", "inferred"), fact
    if profile.unit == "ane":
        assert {"normalisation", "convolution", "placement", "reduce_sum"} <= set(profile.unknowns)


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
def test_every_property_that_applies_is_settled(name):
    profile = load_profile(name)
    for property in PROPERTIES.values():
        if property.only_if is not None:
            assert set(property.only_if[0]) <= set(PROPERTIES)
    settings = profile.settings()
    assert set(settings) == set(profile.facts) | set(profile.unknowns)
    assert all(PROPERTIES[key].problem(value) is None for key, value in settings.items())


def test_an_infinite_number_is_a_number():
    assert load_profile("ane-m5").values("log_of_zero") == (-45440.0, -math.inf)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('unit = "ane"', 'unit = "npu"', "unit: expected ane, gpu or cpu, found 'npu'"),
        ('unit = "ane"', 'unit = "ane"\nchip = 1', "unknown key 'chip'"),
        ('description = "', '# "', "key 'description' is missing; expected name, unit, desc"),
        ("value = 32768.0", 'value = "high"', "facts.product_ceiling: value: expected a number"),
        ("value = 32768.0", "value = nan", "facts.product_ceiling: value: expected a number"),
        ("value = 32768.0", "value = true", "facts.product_ceiling: key 'value': expected str"),
        ('value = "flushed"', 'value = "zero"', "expected one of kept, flushed, found 'zero'"),
        ('confidence = "high"', 'confidence = "sure"', "confidence: expected one of high, medium"),
        ('basis = "measured"', 'basis = "heard"', "basis: expected one of measured, inferred"),
        ("[facts.slice_gain]", "[facts.slice_game]", "unknown device property 'slice_game'; did"),
        ("[facts.slice_gain]", "[facts.round]", "not valid TOML"),
        ('assumed = "wide"', 'assumed = "thin"', "unknowns.reduce_sum: assumed: expected one of"),
        ('variants = ["wide", "narrow"]', 'variants = ["wide"]', "two or more different ones"),
        ('variants = ["wide", "narrow"]', "variants = 3", "key 'variants': expected list"),
        ("domain = [0.0, 4.0]", "domain = [4.0, 0.0]", "tables.tanh: domain: expected two asc"),
        ("domain = [0.0, 4.0]", "domain = [-4.0, 4.0]", "expected an odd function's to begin at 0"),
        ("domain = [0.0, 4.0]", 'domain = ["a", 4.0]', "domain: expected two numbers"),
        ("at = 4.0, slope = 0.0", "at = 3.0, slope = 0.0", "tables.tanh: below, above: expected"),
        ("at = 4.0, slope = 0.0", "at = 4.0, angle = 0.0", "tables.tanh: unknown key 'angle'"),
        ("odd = true", "odd = false", "tables.tanh: below: expected a line here"),
        (
            "domain = [0.5, 1.0]",
            "domain = [1.0, 2.0]",
            "log: domain: expected the mantissas",
        ),
        ("[tables.sqrt]", "[tables.root]", "unknown function 'root'"),
        ("[tables.sqrt]", "[tables.softplus]", "expected an octave for none but exp, exp2"),
        ("knots = 33", "knots = 1", "tables.sigmoid: knots: expected 2 to 1,025, found 1"),
        ("knots = 33", "knots = 1000000000", "knots: expected 2 to 1,025, found 1000000000"),
        ("domain = [0.0, 4.0]", "domain = [0.0, inf]", "tables.tanh: domain: expected numbers of"),
        ("domain = [0.0, 4.0]", "domain = [0.0, 1e308]", "numbers of FP16, up to 65,504, found [0"),
        ("value = 32768.0", "value = -1.0", "expected a number above 0, found -1.0"),
        (
            "value = 16.0",
            "value = 0",
            "facts.slice_gain: value: expected a number above 0, found 0",
        ),
        ("at = 4.0, slope = 0.0", "at = 4.0, slope = nan", "expected finite numbers"),
        ('source = "guide, chapter 3"', 'source = " "', "source: expected who published it"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_a_wrong_line_is_named_with_its_place(old, new, message):
    content = text()
    assert old in content
    with pytest.raises(ProfileError) as caught:
        parse_profile(content.replace(old, new, 1), "mine.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("mine.toml")
    assert len(str(caught.value)) < 500


def without(section: str) -> str:
    content = text()
    start = content.index(f"[{section}]")
    return content[:start] + content[content.index("\n[", start) + 1 :]


@pytest.mark.parametrize(
    "name", ["facts.product_ceiling", "unknowns.normalisation", "unknowns.tile_alignment"]
)
def test_a_property_that_nobody_settled_is_missed(name):
    with pytest.raises(ProfileError, match=rf"{name.split('.')[1]} \(.*\) is missing; add it"):
        parse_profile(without(name), "mine.toml")


@pytest.mark.parametrize(
    ("way", "detail"),
    [("tiles_of_four", "tile_alignment"), ("sequential_fp16", "product_rounding")],
)
def test_a_detail_of_sums_is_missed_if_convolutions_alone_need_it(way, detail):
    wide = '[facts.convolution_accumulator]\nvalue = "wide"'
    assert wide in text("gpu")
    with pytest.raises(ProfileError, match=rf"{detail} \(.*\) is missing"):
        parse_profile(text("gpu").replace(wide, wide.replace("wide", way)), "mine.toml")


def test_a_property_is_a_fact_or_an_unknown():
    fact = '\n[facts.reduce_sum]\nvalue = "wide"\nsource = "me"\nconfidence = "low"\n'
    with pytest.raises(ProfileError, match="reduce_sum is both a fact and an unknown"):
        parse_profile(text() + fact + 'basis = "inferred"\n', "mine.toml")


def test_tables_and_activations_belong_together():
    content = text("gpu").replace('value = "rounded_once"', 'value = "tables"', 1)
    fact = '\n[facts.table_rounding]\nvalue = "nearest_even"\nsource = "me"\nconfidence = "low"\n'
    with pytest.raises(ProfileError, match="tables: expected some if, and only if"):
        parse_profile(content + fact + 'basis = "inferred"\n', "mine.toml")


def test_a_profile_of_ones_own_is_read_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text().replace('name = "ane-m1"', 'name = "mine"'), encoding="utf-8")
    assert load_profile(path) == load_profile(str(path))
    assert load_profile(path).name == "mine"


@pytest.mark.parametrize("name", ["ane-m2", "absent.toml"])
def test_a_profile_that_is_not_there_is_named(name):
    with pytest.raises((UnknownNameError, ProfileError), match=name):
        load_profile(name)
