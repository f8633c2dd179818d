"""If these fail, a difference in a real network is not where it is said to be, or not alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import mil
from harness.conversion import TracedModel, convert_to_coreml, load_recipe, module_paths
from harness.mil import Model
from harness.mil.editing import constant, edited, find, skipped, with_constant, with_inputs
from harness.mil.saving import save_package
from harness.structure import ProgramChange, Significance, compare_programs
from suites.selftest.structure.rewrites_of_names import values_renamed
from suites.selftest.structure.rewriting import Draft


def _tanh(model: Model) -> Model:
    gelu = find(model, type="gelu", modules=module_paths(model), module="encoder.0")[0]
    return edited(model, with_inputs(gelu, mode=constant("TANH_APPROXIMATION")))


def _heads(model: Model) -> Model:
    linear = find(model, type="linear", modules=module_paths(model), module="crosstransformer.*")[0]
    return edited(
        model, with_constant(model, linear, "weight", lambda weight: np.roll(weight, 1, 0))
    )


def _residual(model: Model) -> Model:
    total = find(model, type="add", modules=module_paths(model), module="tencoder.0.dconv")[0]
    return edited(model, skipped(total, "x"))


@pytest.mark.parametrize(
    ("edit", "kind", "type", "module"),
    [
        (_tanh, ProgramChange.ATTRIBUTE, "gelu", "encoder.0"),
        (_heads, ProgramChange.CONSTANT, "linear", "crosstransformer.layers.0.self_attn"),
        (_residual, ProgramChange.MISSING, "add", "tencoder.0.dconv"),
    ],
)
def test_one_edit_of_a_network_is_one_difference_at_its_place(
    narrow: Model, edit: Callable[[Model], Model], kind: ProgramChange, type: str, module: str
) -> None:
    (only,) = compare_programs(narrow, edit(narrow)).differences
    assert (only.kind, only.type, only.module) == (kind, type, module)


def test_a_stranger_s_package_gets_places_too(
    narrow: Model, narrow_path: Path, tmp_path: Path
) -> None:
    """Renamed throughout and without papers: the expected program says where things are."""
    wrong = _tanh(narrow)
    draft = Draft(wrong.package)
    values_renamed(draft)
    path = tmp_path / "stranger.mlpackage"
    save_package(path, draft.function, wrong.package.constants.array)
    stranger = mil.load(path)
    assert stranger.metadata == {}
    (only,) = compare_programs(narrow, stranger).differences
    assert (only.kind, only.module, only.parameter) == (
        ProgramChange.ATTRIBUTE,
        "encoder.0",
        "mode",
    )
    # The other way round nobody says where anything comes from, and nothing is made up.
    (other,) = compare_programs(stranger, narrow).differences
    assert (other.kind, other.module) == (ProgramChange.ATTRIBUTE, None)


def test_a_package_that_was_only_opened_is_compared_as_well(
    narrow: Model, narrow_path: Path
) -> None:
    found = compare_programs(narrow.package, mil.load(narrow_path))
    assert found.verdict == "pass"
    assert found.matched == found.expected_operations == len(narrow.operations)
    assert found.reason == f"all {found.matched} operations are those of the model"


def test_an_honest_conversion_for_an_older_system_is_written_otherwise(
    narrow: Model, narrow_trace: TracedModel, tmp_path: Path
) -> None:
    """Before iOS 18 there is no operation for attention: that is no error, and no proof either."""
    out = tmp_path / "older.mlpackage"
    recipe = load_recipe("fp32")
    convert_to_coreml(narrow_trace, recipe=recipe, out=out, subject="narrow", target="iOS17")
    older = mil.load(out)
    found = compare_programs(narrow, older)
    assert found.verdict == "not_evaluated"
    missing = [d.type for d in found.differences if d.kind is ProgramChange.MISSING]
    assert {*missing} == {"scaled_dot_product_attention"}
    inserted = {d.type for d in found.differences if d.kind is ProgramChange.INSERTED}
    assert inserted == {"mul", "matmul", "softmax"}
    assert len(missing) + found.inserted == len(found.differences)
    # A bug elsewhere in such a package is seen all the same.
    wrong = compare_programs(narrow, _tanh(older))
    (only,) = (d for d in wrong.differences if d.severity is Significance.COMPUTES)
    assert (wrong.verdict, only.module, only.parameter) == ("fail", "encoder.0", "mode")
