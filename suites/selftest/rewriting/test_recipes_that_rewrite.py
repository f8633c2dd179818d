"""If these fail, a recipe's rewritings are lost on the way to a package, or can't be shipped."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from harness import mil
from harness.conversion import PrecisionRecipe, convert_to_coreml, load_recipe, trace_inner_model
from harness.conversion.recipes import parse_recipe
from harness.devices import ProfileError, device
from harness.errors import RecipeError, UnknownNameError
from harness.precision.tuning.forms import OTHERWISE, FormSearcher
from harness.precision.virtual import VirtualPrecision
from harness.rewriting import APPROXIMATE, FOR_SUMS, REWRITINGS
from harness.subjects.surgery import extract_inner_model
from harness.workbench.rewriting import passes_source
from suites.ops.packages import write_package
from suites.selftest.networks import narrow_network
from suites.selftest.rewriting.test_forms import gelu, program_of

FORMS = ("gelu_over_exp", "sigmoid_over_exp", "group_norm_in_one", "attention_in_steps")
RECIPE = PrecisionRecipe("narrow", "fp16", rewrites=FORMS, description="A test.")


def test_a_recipe_keeps_its_rewritings_as_toml() -> None:
    assert parse_recipe(RECIPE.to_toml(), "here") == RECIPE
    with pytest.raises(RecipeError, match=r"'rewrites': expected one of .*gelu_over_exp.*'gelu'"):
        replace(RECIPE, rewrites=("gelu",))


def test_a_conversion_applies_them_and_finds_taps_and_names_again(tmp_path: Path) -> None:
    traced = trace_inner_model(extract_inner_model(narrow_network(["drums", "vocals"], t_layers=1)))
    made = {
        name: convert_to_coreml(
            traced, recipe=recipe, out=tmp_path / f"{name}.mlpackage", subject="n"
        )
        for name, recipe in (("plain", load_recipe("fp16")), ("rewritten", RECIPE))
    }
    types = {
        name: {step.operation.type for step in mil.load(package.path).plan.steps}
        for name, package in made.items()
    }
    gone = {"gelu", "sigmoid", "scaled_dot_product_attention", "square"}
    assert gone <= types["plain"]
    # Deviations of the inputs are squared still.
    assert not (gone - {"square"}) & types["rewritten"]
    assert made["rewritten"].audit.verdict == "pass"
    assert made["rewritten"].taps.found.keys() == made["plain"].taps.found.keys()


def test_a_lab_refuses_a_recipe_of_other_forms_than_its_package_has(tmp_path: Path) -> None:
    program = program_of(gelu, (1, 2, 3))
    lab = VirtualPrecision(mil.load(write_package(program, tmp_path / "p.mlpackage")))
    assert lab.recipe_model(load_recipe("fp16")).plan.steps
    with pytest.raises(RecipeError, match=r"rewrites .*gelu_over_exp.* was converted with \[\]"):
        lab.recipe_model(RECIPE)


def test_the_shipped_file_needs_nothing_but_coremltools(tmp_path: Path) -> None:
    (tmp_path / "narrow.py").write_text(passes_source(RECIPE))
    (tmp_path / "use.py").write_text(
        """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import coremltools as ct
from coremltools.converters.mil import Builder as mb
import narrow

@mb.program(input_specs=[mb.TensorSpec(shape=(1, 4, 6))], opset_version=ct.target.iOS18)
def program(x):
    return mb.mul(x=mb.gelu(x=x, mode="EXACT"), y=mb.sigmoid(x=x))

model = ct.convert(
    program, pass_pipeline=narrow.pass_pipeline(), minimum_deployment_target=ct.target.iOS18,
    compute_precision=ct.transform.FP16ComputePrecision(op_selector=narrow.op_selector),
    convert_to="mlprogram", skip_model_load=True,
)
kinds = [op.op_type for op in model._mil_program.functions["main"].operations]
print(sorted(set(kinds)), "harness" in sys.modules)
"""
    )
    done = subprocess.run(
        [sys.executable, "use.py"], cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert "exp" in last
    assert "gelu" not in last
    assert "sigmoid" not in last
    assert last.endswith("False")


def test_a_device_can_be_supposed_to_do_better() -> None:
    wide = device("ane-m1").supposing(accumulator="wide")
    assert wide.settings["accumulator"] == "wide"
    assert device("ane-m1").settings["accumulator"] == "tiles_of_four"
    assert wide.label == "ane-m1, accumulator=wide"
    with pytest.raises(ProfileError, match="accumulator: expected one of"):
        device("ane-m1").supposing(accumulator="narrow")
    with pytest.raises(UnknownNameError):
        device("ane-m1").supposing(accumulators="wide")


class Network:
    """A made-up network: each form gains or loses, and has operations of its own."""

    gains: ClassVar = {
        "group_norm_in_one": (0.0, -30),
        "gelu_over_exp_short": (6.0, 10),
        "gelu_over_exp": (8.0, 14),
        "sigmoid_over_exp": (3.0, 4),
        "attention_in_steps": (-1.0, 7),
        "standard_in_range": (0.05, 11),
        "weights_with_gain": (2.0, 0),  # -6 where accumulators are wide
    }

    def count(self, names: tuple[str, ...]) -> int:
        return 100 + sum(self.gains[name][1] for name in names)

    def measured(self, names: tuple[str, ...], supposed: tuple[str, ...]) -> dict[str, float]:
        gains = [self.gains[name][0] for name in names if name not in FOR_SUMS]
        fit = -6 if "accumulators wide" in supposed else 2
        return {"d/c/m": 40 + len(supposed) + sum(gains) + fit * len(FOR_SUMS & set(names))}


def search(more: float, *, approximate: bool = True) -> tuple[str, ...]:
    network = Network()
    searcher = FormSearcher(
        network.count, network.measured, more, lambda line: None, approximate=approximate
    )
    found = searcher.search()
    assert found.supposed == ()  # what is promised is of the device as it is
    limits = searcher.limits(found)
    assert limits["tables exact"] == found.worst_db + 1
    unfit = 2.0 if FOR_SUMS & set(found.rewrites) else 0.0  # gains nothing for wide accumulators
    assert limits["accumulators wide"] == found.worst_db - unfit + 1
    assert found.rewrites == tuple(name for name in REWRITINGS if name in found.rewrites)
    assert set(searcher.risks(found)) == (set(OTHERWISE) if unfit else set())
    measured = [(trial.rewrites, trial.supposed) for trial in searcher.trials]
    assert len(set(measured)) == len(measured)  # nothing twice
    return found.rewrites


def test_a_search_keeps_what_gains_or_saves_and_nothing_else() -> None:
    assert search(0.05) == (
        "group_norm_in_one",
        "gelu_over_exp",
        "sigmoid_over_exp",
        "weights_with_gain",
    )


def test_a_search_takes_the_shorter_form_where_operations_are_short() -> None:
    assert search(-0.15)[:3] == ("group_norm_in_one", "gelu_over_exp_short", "sigmoid_over_exp")


@pytest.mark.parametrize("more", [0.05, -0.15, -0.18])
def test_no_search_takes_a_form_that_is_not_the_same_in_fp32_unless_it_may(more: float) -> None:
    assert not set(search(more, approximate=False)) & set(APPROXIMATE)


def test_a_search_of_forms_that_are_the_same_takes_the_longer_one() -> None:
    assert "gelu_over_exp" in search(0.05, approximate=False)


def test_a_search_leaves_out_what_costs_least_where_there_is_no_room() -> None:
    assert search(-0.18)[:2] == ("group_norm_in_one", "gelu_over_exp_short")
    assert "sigmoid_over_exp" not in search(-0.18)
