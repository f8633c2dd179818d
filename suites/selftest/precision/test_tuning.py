"""If these fail, ``parity tune`` writes a recipe that doesn't hold, or claims that none can."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import mil
from harness.conversion import convert_to_coreml
from harness.conversion.recipes import parse_recipe
from harness.errors import ParityError
from harness.precision.sensitivity import (
    Probing,
    audible,
    measure_sensitivity,
    measures_of,
    output_measure,
)
from harness.precision.tuning import (
    Goal,
    Tuner,
    complete,
    operation_costs,
    selector_source,
    tune,
    tuned_recipe,
)
from harness.precision.virtual import VirtualPrecision
from suites.bench.baselines import baselines
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import make_program
from suites.selftest.precision.conftest import STEMS

GOAL = Goal(75.0, margin_db=0.5)


@pytest.fixture(scope="module")
def tuner(narrow, music):
    return Tuner(narrow, {"music": music}, GOAL, STEMS)


@pytest.fixture(scope="module")
def parts(tuner):
    return tuner.parts()


@pytest.fixture(scope="module")
def tuned(tuner, parts):
    return tune(tuner, parts)


def test_the_target_is_reached_with_a_part_of_the_operations(tuned) -> None:
    best = tuned.best
    assert best is not None
    assert best.worst_db > 75.5
    assert best.fp32_share < 0.9
    assert tuned.trials[0].fp32 == ()
    assert not tuned.trials[0].holds
    assert abs(min(best.predicted_db.values()) - best.worst_db) < 1.0


def test_the_recipe_converts_to_what_was_measured(
    tuned, narrow: VirtualPrecision, narrow_trace, music, tmp_path
) -> None:
    recipe = tuned_recipe(narrow, tuned, name="tuned", subject="narrow", cases=["music"])
    assert parse_recipe(recipe.to_toml(), "written") == recipe
    package = tmp_path / "tuned.mlpackage"
    made = convert_to_coreml(narrow_trace, recipe=recipe, out=package, subject="narrow")
    assert made.audit.verdict == "pass"
    actual = mil.load(package).run(music)
    virtual = narrow.recipe_model(recipe).run(music)
    assert all(torch.equal(actual[name], virtual[name]) for name in ("freq", "time"))


def test_the_selector_needs_nothing_of_ours_and_decides_as_the_recipe_does(
    tuned, narrow: VirtualPrecision
) -> None:
    class Value:
        def __init__(self, name: str) -> None:
            self.name = name

    class Operation:
        def __init__(self, name: str) -> None:
            self.name, self.outputs = "other", [Value(name)]

    recipe = tuned_recipe(narrow, tuned, name="tuned", subject="narrow", cases=["music"])
    namespace: dict = {}
    exec(selector_source(recipe), namespace)
    for operation in narrow.operations:
        if operation.type != "split":
            decided = namespace["op_selector"](Operation(operation.name))
            assert decided is (recipe.decide(operation) == "fp16"), operation.name


def test_sensitivities_and_tuning_predict_the_same_of_fp16(small: VirtualPrecision, signal) -> None:
    """Both are sums over one table: else an engineer ranks by one error and tunes for another."""
    cases, choice = {"noise": signal}, small.fp32_for(())
    parts = Tuner(small, cases, Goal(40.0), probes=48).parts()
    measures = measures_of(None, ["gated", "flat"])
    found = measure_sensitivity(small, cases, measures, choice=choice, probing=Probing(48))
    error = parts.error(np.zeros(len(parts.operations), bool))
    for name, value in zip(parts.measures, error, strict=True):
        assert -10 * np.log10(value) == pytest.approx(found.predicted_db[name], abs=1.5)


def test_a_limit_on_fp32_is_kept_and_named(tuner, parts) -> None:
    found = tune(replace(tuner, goal=replace(GOAL, max_fp32_share=0.01)), parts, rounds=2)
    assert found.best is None
    assert "1.0 % are allowed" in found.limit
    document = json.loads(json.dumps(found.to_dict()))
    assert (document["kind"], document["reached"]) == ("tuning", False)


def test_one_operation_that_was_misjudged_costs_little(tuned, tuner, parts) -> None:
    lines: list[str] = []
    needed = [name in tuned.best.fp32 for name in parts.operations]
    misjudged = int(np.where(needed, parts.own.max(1), 0.0).argmax())
    chosen = np.arange(len(needed)) == misjudged
    wrong = parts.corrected(chosen, np.full(len(parts.measures), 1e-4))
    best = tune(replace(tuner, report=lines.append), wrong).best
    assert best is not None
    assert parts.operations[misjudged] in best.fp32
    assert best.fp32_share < tuned.best.fp32_share + 0.05
    assert any(f": {parts.operations[misjudged]} has" in line for line in lines)


def test_a_tolerance_holds_for_every_element(small: VirtualPrecision, signal) -> None:
    goal = Goal(20.0, rtol=1e-3, atol=1e-3, margin_db=0.0)
    found = tune(Tuner(small, {"noise": signal}, goal))
    assert found.best is not None
    expected = small.base.run(signal)
    actual = small.model(complete(small, frozenset(found.best.fp32))).run(signal)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-3, atol=1e-3)


def test_a_silent_case_is_passed_over_and_silence_alone_is_refused(
    small: VirtualPrecision, signal
) -> None:
    """Nothing can be told of silence, and it must not be taken for success."""
    silent = {name: torch.zeros_like(value) for name, value in signal.items()}
    expected = small.base.run(silent)
    assert not audible([output_measure(name) for name in expected], expected)
    beside = Tuner(small, {"noise": signal, "silence": silent}, Goal(40.0)).parts()
    alone = Tuner(small, {"noise": signal}, Goal(40.0)).parts()
    assert beside.measures == alone.measures
    with pytest.raises(ParityError, match="the outputs on silence are silent"):
        Tuner(small, {"silence": silent}, Goal(40.0))


def two_branches(mb: Any, x: Any, y: Any) -> list[Any]:
    one = mb.mul(x=mb.tanh(x=x, name="bent"), y=np.float32(1.7), name="one")
    return [one, mb.mul(x=mb.sigmoid(x=y, name="soft"), y=y, name="other")]


def test_cases_may_reach_different_operations(tmp_path: Path) -> None:
    """Where one of two outputs is silent in a case, nothing that leads to it has a share in it."""
    program = make_program(two_branches, {"x": (4, 30), "y": (4, 30)}, np.float32)
    lab = VirtualPrecision(mil.load(write_package(program, tmp_path / "branches")))
    x, y = torch.randn(2, 4, 30)
    nothing = torch.zeros(4, 30)
    cases = {
        "left": {"x": x, "y": nothing},
        "right": {"x": nothing, "y": y},
        "both/in a folder": {"x": x, "y": y},
    }
    parts = Tuner(lab, cases, Goal(40.0)).parts()
    apart = {case: Tuner(lab, {case: given}, Goal(40.0)).parts() for case, given in cases.items()}
    assert apart["left"].operations == ("bent", "one")
    assert apart["right"].operations == ("soft", "other")
    assert set(parts.operations) == {"bent", "one", "soft", "other"}
    assert parts.measures == tuple(name for own in apart.values() for name in own.measures)
    for narrow in parts.operations:
        joint = parts.error(np.array([name != narrow for name in parts.operations]))
        alone = [
            own.error(np.array([name != narrow for name in own.operations]))
            for own in apart.values()
        ]
        np.testing.assert_allclose(joint, np.concatenate(alone))
    best = tune(Tuner(lab, cases, Goal(60.0))).best
    assert best is not None
    assert best.holds


def test_a_movement_is_in_fp32_only_between_neighbours_in_fp32(small: VirtualPrecision) -> None:
    assert complete(small, frozenset({"gelu"}))["rows"] == "fp16"
    assert complete(small, frozenset({"mixed"}))["rows"] == "fp16"
    assert complete(small, frozenset({"gelu", "mixed"}))["rows"] == "fp32"
    assert complete(small, frozenset({"normal"}))["flat"] == "fp16"
    assert complete(small, frozenset({"scaled"}))["flat"] == "fp32"  # an output is FP32


@pytest.mark.parametrize("kind", ["bytes", "flops"])
def test_costs_are_shares_of_the_whole(kind: str, small: VirtualPrecision) -> None:
    costs = operation_costs(small.base.plan, kind)
    assert sum(costs.values()) == pytest.approx(1.0)
    if kind == "flops":
        conv, linear = 2 * 6 * 40 * 4 * 3, 2 * 6 * 40 * 6
        assert costs["conv"] / costs["mixed"] == pytest.approx(conv / linear)
    assert np.isfinite(list(costs.values())).all()


def test_a_tuned_set_is_cheaper_than_any_baseline(tuned, tuner, parts) -> None:
    best = tuned.best
    found = baselines(tuner, parts)
    assert set(found) == {"list", "types", "prefix", "suffix"}
    for name, trial in found.items():
        assert trial is not None
        assert trial.holds
        assert best.fp32_share < trial.fp32_share, name
