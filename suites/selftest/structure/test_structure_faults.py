"""If these fail, a package with a known bug is called the program that it should be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness import mil
from harness.conversion import read_sidecar
from harness.faults import all_faults, get_fault
from harness.structure import ProgramChange, Significance, compare_programs
from harness.workbench import Workbench
from suites.selftest.check.faulty_packages import FaultPackager, savable_faults, unsavable_reason

PLACES = {
    "program.gelu-tanh": (ProgramChange.ATTRIBUTE, "gelu", "encoder.0", "mode"),
    "program.layer-norm-epsilon": (
        ProgramChange.ATTRIBUTE,
        "layer_norm",
        "crosstransformer.layers.0.norm1",
        "epsilon",
    ),
    "program.root-skipped": (ProgramChange.MISSING, "sqrt", "decoder.0.dconv.layers.1.1", ""),
    "program.residual-subtracted": (ProgramChange.OPERATION, "add", "tdecoder.3.dconv", ""),
    "program.stem-gain": (ProgramChange.INSERTED, "mul", "denorm_time", ""),
    "program.value-is-key": (
        ProgramChange.INPUT,
        "scaled_dot_product_attention",
        "crosstransformer.layers_t.1.cross_attn",
        "value",
    ),
    "weights.exponent-bit": (ProgramChange.CONSTANT, "conv", "decoder.1.rewrite", "weight"),
    "weights.bias-dropped": (ProgramChange.ATTRIBUTE, "conv", "encoder.2.dconv.layers.1.0", "bias"),
    "precision.epsilon-becomes-subnormal": (ProgramChange.CONSTANT, "add", "norm_freq", "y"),
}
"""What the only difference of a fault is, and where."""

ENOUGH = 60
"""Of the faults that can be saved in a package of FP32."""


def test_enough_faults_can_be_saved() -> None:
    assert len(savable_faults()) >= ENOUGH
    assert {fault.name for fault in savable_faults()} >= PLACES.keys()


@pytest.mark.parametrize(
    ("name", "why"),
    [("program.softmax-axis", "computes it otherwise"), ("stft.window-symmetric", "'transform'")],
)
def test_what_can_not_be_saved_says_why(name: str, why: str) -> None:
    reason = unsavable_reason(get_fault(name))
    assert reason is not None
    assert why in reason


@pytest.mark.exhaustive
@pytest.mark.parametrize(("recipe", "enough"), [("fp32", ENOUGH), ("mini_60db", ENOUGH)])
def test_every_saved_fault_is_a_difference_at_its_place(
    recipe: str, enough: int, workbench: Workbench, tmp_path: Path
) -> None:
    packager = FaultPackager(workbench, recipe)
    reasons, count = {}, 0
    for number, fault in enumerate(savable_faults()):
        out = tmp_path / f"{number}.mlpackage"
        saved = packager.save(fault, out)
        if saved.path is None:
            assert not out.exists()
            reasons[fault.name] = saved.reason
            continue
        actual = mil.load(saved.path)
        sidecar = read_sidecar(actual)
        assert sidecar is not None
        expected = mil.load(workbench.packages.path("mini", sidecar.recipe.name))
        found = compare_programs(expected, actual)
        assert found.differences, fault.name
        assert found.count(Significance.COMPUTES), f"{fault.name}: {found.reason}"
        if fault.name in PLACES:
            (only,) = found.differences
            place = (only.kind, only.type, only.module, only.parameter)
            assert place == PLACES[fault.name], fault.name
        count += 1
        shutil.rmtree(out)
    assert count >= enough, reasons


@pytest.mark.exhaustive
def test_what_is_said_to_be_unsavable_is(workbench: Workbench, tmp_path: Path) -> None:
    """A fault that could be saved and is not would be one that no package is tried with."""
    packager = FaultPackager(workbench)
    for fault in all_faults():
        if fault.judge == "arithmetic":
            model = fault.inject(packager.sound).model
            assert compare_programs(packager.sound.model, model).verdict == "pass", fault.name
