"""If these fail, recipes that were found without converting don't hold once they are converted."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import mil
from harness._coremltools import import_coremltools
from harness.conversion import TracedModel, convert_to_coreml, load_recipe, shipped_recipes
from harness.conversion.quiet import quiet_coremltools
from harness.errors import PackageError, RecipeError
from harness.precision.virtual import VirtualPrecision, operation_name
from harness.precision.virtual.constants import round_constant
from suites.ops.packages import write_package
from suites.selftest.precision.conftest import network_program


def converted_by_coremltools(fp16: set[str], path: Path) -> mil.Model:
    """Return the small program with casts as coremltools' own pass puts them."""
    import_coremltools()
    from coremltools.converters.mil.mil.passes.defs.quantization import FP16ComputePrecision

    program = network_program()
    with quiet_coremltools():
        FP16ComputePrecision(op_selector=lambda op: op.name in fp16).apply(program)
        return mil.load(write_package(program, path))


@pytest.mark.parametrize("seed", range(8))
def test_the_same_bits_as_coremltools_for_any_set_of_operations(
    seed: int, small: VirtualPrecision, signal: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    names = [operation.name for operation in small.operations]
    share = (0.0, 1.0, 0.1, 0.3, 0.5, 0.5, 0.7, 0.9)[seed]
    generator = random.Random(seed)
    fp16 = {name for name in names if generator.random() < share}
    virtual = small.model({n: "fp16" if n in fp16 else "fp32" for n in names})
    expected = list(converted_by_coremltools(fp16, tmp_path / "x.mlpackage").run(signal).values())
    actual = list(virtual.run(signal).values())
    assert len(actual) == len(expected) == 2
    for one, other in zip(expected, actual, strict=True):
        assert torch.equal(one, other)
    wide = list(small.base.run(signal).values())
    assert (torch.equal(wide[0], actual[0])) is (not fp16)


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(r.name, marks=[pytest.mark.exhaustive] * (r.name in ("palette6", "palette8")))
        for r in shipped_recipes().values()
        if not r.subjects and r.name != "fp32"
    ],
)
def test_a_shipped_recipe_is_as_close_virtually_as_converted(
    recipe: str,
    narrow: VirtualPrecision,
    narrow_trace: TracedModel,
    music: dict[str, torch.Tensor],
    tmp_path: Path,
) -> None:
    chosen = load_recipe(recipe)
    package = tmp_path / "x.mlpackage"
    convert_to_coreml(narrow_trace, recipe=chosen, out=package, subject="narrow")
    reference = narrow.base.run(music)
    real = mil.load(package).run(music)
    virtual = narrow.recipe_model(chosen).run(music)
    for output in ("freq", "time"):
        expected = snr_db(reference[output], real[output])
        assert abs(snr_db(reference[output], virtual[output]) - expected) < 0.05
        assert (20 if chosen.compresses else 40) < expected < 90


def snr_db(reference: torch.Tensor, actual: torch.Tensor) -> float:
    error = (reference.double() - actual.double()).square().sum()
    return float(10 * torch.log10(reference.double().square().sum() / error))


def test_values_keep_their_names_and_show_their_precision(
    small: VirtualPrecision, signal: dict[str, torch.Tensor]
) -> None:
    model = small.model(small.fp32_for({"mixed"}))
    by_name = {operation_name(o): str(o.dtype) for o in model.operations if o.type != "cast"}
    assert by_name["mixed"] == "fp32"
    assert by_name["sum"] == "fp16"
    taps = model.run(signal, taps=["mixed", "sum"])
    assert torch.equal(taps["sum"], taps["sum"].half().float())
    assert not torch.equal(taps["mixed"], taps["mixed"].half().float())


def test_an_epsilon_does_not_become_zero_as_coremltools_keeps_it() -> None:
    assert round_constant(np.float32(1e-9)) == np.float16(6e-8)
    assert round_constant(np.float32(-1e-9)) == np.float16(-6e-8)
    assert round_constant(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
    assert round_constant(np.full(400, 1e-9, np.float32)).tolist() == [0] * 400


def test_a_constant_beyond_fp16_keeps_its_operation_wide(tmp_path: Path) -> None:
    import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Program, types

    @mb.program(input_specs=[mb.TensorSpec((4,), types.fp32)])
    def program(x):  # type: ignore[no-untyped-def]
        return mb.add(x=mb.mul(x=x, y=np.float32(70000.0), name="far"), y=x, name="near")

    assert isinstance(program, Program)
    lab = VirtualPrecision(mil.load(write_package(program, tmp_path / "far.mlpackage")))
    assert lab.movable == {"near"}
    dtypes = {o.name: str(o.dtype) for o in lab.model(lab.fp32_for(())).operations}
    assert dtypes["far"] == "fp32"


def test_a_choice_must_name_every_operation_and_no_other(small: VirtualPrecision) -> None:
    choice = small.fp32_for(())
    with pytest.raises(RecipeError, match="unknown operation 'nothing'"):
        small.model({**choice, "nothing": "fp16"})
    del choice["conv"]
    with pytest.raises(RecipeError, match="leaves out operation 'conv'"):
        small.model(choice)


def test_a_package_in_fp16_is_refused(tmp_path: Path) -> None:
    model = converted_by_coremltools({"conv"}, tmp_path / "x.mlpackage")
    with pytest.raises(PackageError, match="not all FP32"):
        VirtualPrecision(model)
