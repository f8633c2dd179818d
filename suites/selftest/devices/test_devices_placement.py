"""Which unit can run what: published limits, element by element, and rules that are wrong."""

from __future__ import annotations

from importlib.resources import files

import pytest

from harness.bounded import parse_toml
from harness.devices import ProfileError, place
from harness.devices.placement import UNITS, parse_rules, rules
from harness.mil.ops.registry import known_types

BOTH = {"ane-m1", "ane-m5"}
EVERYWHERE = BOTH | {"gpu", "cpu"}


@pytest.mark.parametrize(
    ("operation", "dtypes", "shapes", "units"),
    [
        ("conv", ["fp16"], [[1, 48, 512, 336], [48, 48, 3, 3]], EVERYWHERE),
        ("conv", ["fp16", "fp32"], [[1, 48, 512, 336], [48, 48, 3, 3]], {"gpu", "cpu"}),
        ("conv", ["fp16"], [[1, 20000, 8, 8], [20000, 20000, 1, 1]], EVERYWHERE),
        ("conv", ["fp16"], [[1, 4, 8, 64], [4, 4, 1, 13]], EVERYWHERE),
        ("conv", ["fp16"], [[1, 4, 8, 64], [4, 4, 1, 14]], EVERYWHERE - {"ane-m1"}),
        ("conv", ["fp16"], [[1, 4, 8, 64], [4, 4, 1, 17]], {"gpu", "cpu"}),
        ("conv", ["fp16"], [[1, 4, 64, 8], [4, 4, 16, 3]], EVERYWHERE),
        ("conv", ["fp16"], [[1, 4, 2, 8, 64], [4, 4, 1, 3, 3]], {"gpu", "cpu"}),
        ("add", ["fp16"], [[1, 16384], [1, 16384]], EVERYWHERE),
        ("add", ["fp16"], [[16384], [16385]], EVERYWHERE - {"ane-m1"}),
        ("add", ["fp16"], [[16385, 1]], EVERYWHERE - {"ane-m1"}),
        ("add", ["fp16"], [[2, 70000]], {"gpu", "cpu"}),
        ("add", ["fp16"], [[1, 65536, 4, 4]], EVERYWHERE),
        ("add", ["fp16"], [[1, 65537, 4, 4]], {"gpu", "cpu"}),
        ("add", ["fp16"], [[1, 2, 3, 4, 5]], EVERYWHERE),
        ("add", ["fp16"], [[1, 2, 3, 4, 5, 6]], {"gpu", "cpu"}),
        ("add", ["fp16"], [[]], EVERYWHERE),
        ("add", ["fp16"], [[0, 8]], {"gpu", "cpu"}),
        ("matmul", ["fp16"], [[1, 2, 3, 4], [1, 2, 4, 3]], EVERYWHERE),
        ("matmul", ["fp16"], [[1, 1, 2, 3, 4], [1, 1, 2, 4, 3]], {"gpu", "cpu"}),
        ("add", ["int32"], [[8]], {"cpu"}),
        ("sin", ["fp16"], [[8]], EVERYWHERE - {"ane-m1"}),
        ("topk", ["fp16"], [[8]], EVERYWHERE - {"ane-m1"}),
        ("lstm", ["fp16"], [[8, 1, 4]], {"gpu", "cpu"}),
        ("reduce_prod", ["fp16"], [[8]], {"gpu", "cpu"}),
    ],
)
def test_published_limits_decide(operation, dtypes, shapes, units):
    assert place(operation, dtypes, shapes).units == units


def test_the_first_layers_of_the_time_branch_do_not_fit_the_m1():
    """343,980 samples, a quarter after each layer; the third has 21,499, the fourth 5,375."""
    widths = [343980, 85995, 21499, 5375]
    fit = ["ane-m1" in place("gelu", ["fp16"], [[1, 48, n]]).units for n in widths]
    assert fit == [False, False, False, True]


def test_a_reason_names_the_rule_and_the_value():
    verdict = place("add", ["fp16"], [[1, 2, 343980]]).on("ane-m1")
    assert verdict.possible is False
    assert verdict.reason == "width and height end at 16,384 (343,980 in [1, 2, 343980])"
    assert verdict.origin is not None
    assert verdict.origin.source.startswith("guide, chapter 4")


def test_what_is_not_published_is_undecided():
    placement = place("complex_stft", ["fp16"], [[8]])
    assert {v.unit for v in placement.verdicts if v.possible is None} == BOTH
    assert placement.units == {"gpu", "cpu"}
    assert placement.on("ane-m1").reason == "nothing is published of complex_stft here"


def test_the_rules_are_about_the_operations_of_mil_and_all_of_them():
    """A misspelt name would make a rule dead, and an operation that none names is undecided."""
    text = files("harness.devices").joinpath("placement.toml").read_text(encoding="utf-8")
    ruled = {name for rule in parse_toml(text)["operations"] for name in rule["types"]}
    known = set(known_types())
    assert ruled <= known
    assert known - ruled == {"classify"}  # no tensors, so no unit's but the CPU's


def test_a_unit_without_rules_is_named():
    with pytest.raises(ProfileError, match="unit 'ane-m2' has no rules; expected one of ane-m1"):
        place("add", ["fp16"], [[1]]).on("ane-m2")


def test_every_rule_is_about_known_units_and_has_its_source():
    assert {unit for rule in rules() for unit in rule.units} == set(UNITS)
    assert all(rule.origin.source and rule.reason for rule in rules())


GOOD = """
[[shapes]]
units = ["gpu"]
limit = "rank"
most = 5
reason = "r"
source = "s"
confidence = "low"
basis = "inferred"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[shapes]]", "[[sizes]]", "expected operations, types, shapes, found 'sizes'"),
        ('"gpu"', '"npu"', "shapes 1: units: expected some of ane-m1"),
        ('limit = "rank"', 'limit = "girth"', "shapes 1: KeyError('girth')"),
        ('confidence = "low"', 'confidence = "?"', "shapes 1: confidence: expected one of"),
        ('reason = "r"', "", "shapes 1: KeyError('reason')"),
        ("most = 5", "most = ", "not valid TOML"),
        ("most = 5", 'most = "many"', "shapes 1: ValueError"),
    ],
    ids=lambda value: value[:16],
)
def test_a_wrong_rule_is_named(old, new, message):
    assert len(parse_rules(GOOD)) == 1
    with pytest.raises(ProfileError) as caught:
        parse_rules(GOOD.replace(old, new))
    assert message in str(caught.value)
