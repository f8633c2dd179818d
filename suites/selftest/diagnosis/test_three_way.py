"""If these fail, a target that is worse than FP16 has to be is excused, or the wrong one blamed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import mil
from harness.conversion import TracedModel, convert_to_coreml, load_recipe
from harness.diagnosis import ThreeWay, three_way
from harness.errors import ContractError, ParityError
from harness.mil.editing import edited, find, with_constant
from harness.precision.virtual import VirtualPrecision
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import make_program

Signal = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def half(small: VirtualPrecision) -> mil.Model:
    return small.model(small.fp32_for(()))


def captured(model: mil.Model, inputs: Signal) -> dict[str, torch.Tensor]:
    return {name: made.clone() for name, made in model.run(inputs, taps="all").items()}


def blamed(found: ThreeWay) -> list[tuple[str, str | None]]:
    return [(operation.operation, operation.cause) for operation in found.culprits]


def test_fp16_done_right_blames_nothing(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    found = three_way(small.base, half, signal)
    assert found.conclusion == "as good as it has to be"
    assert blamed(found) == []
    assert found.unmatched == ()
    assert {o.operation for o in found.operations} >= {"conv", "deviation", "mixed", "gated"}
    for expected, target in found.outputs.values():
        assert 60 < expected == target < 80


def test_fp32_is_exact(small: VirtualPrecision, signal: Signal) -> None:
    found = three_way(small.base, small.base, signal)
    assert all(o.target_db == o.local_db == float("inf") for o in found.operations)


def test_other_weights_are_another_computation_and_what_follows_inherits_it(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    conv = find(half, type="conv")[0]
    wrong = edited(half, with_constant(half, conv, "weight", lambda weight: 1.02 * weight))
    found = three_way(small.base, wrong, signal)
    assert found.conclusion == "another computation"
    assert blamed(found) == [("conv", "computation")]
    centred = next(o for o in found.operations if o.operation == "centred")
    assert centred.target_db < 40 < 60 < (centred.local_db or 0)


def test_huge_weights_leave_the_range(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    """The conversion is right; the subject itself is too loud for FP16."""
    conv = find(small.base, type="conv")[0]
    loud = VirtualPrecision(
        edited(small.base, with_constant(small.base, conv, "weight", lambda weight: 1e4 * weight))
    )
    found = three_way(loud.base, loud.model(loud.fp32_for(())), {"x": 4 * signal["x"]})
    assert blamed(found)[0] == ("conv", "range")


def test_one_operation_that_accumulates_in_fp16_makes_it_worse_than_it_has_to_be(
    tmp_path: Path,
) -> None:
    def body(mb, x):
        mean = mb.reduce_mean(x=x, axes=[1], keep_dims=True, name="long_mean")
        return mb.mul(x=x, y=mean, name="scaled")

    program = make_program(body, {"x": (1, 16_384)}, np.float32)
    lab = VirtualPrecision(mil.load(write_package(program, tmp_path / "x.mlpackage")))
    half = lab.model(lab.fp32_for(()))
    x = {"x": 0.9 + 0.05 * torch.rand(1, 16_384, generator=torch.Generator().manual_seed(1))}
    found = three_way(
        lab.base,
        half,
        x,
        operation_numerics=lambda o: "fp16_accumulate" if o.name == "long_mean" else None,
    )
    assert found.conclusion == "worse than fp16 has to be"
    assert blamed(found) == [("long_mean", "accumulation")]
    scaled = found.operations[-1]
    assert scaled.target_db < 20 < 60 < scaled.expected_db


def lab_of(path: Path, body: Callable[..., Any], shape: tuple[int, ...]) -> VirtualPrecision:
    return VirtualPrecision(
        mil.load(write_package(make_program(body, {"x": shape}, np.float32), path))
    )


@pytest.mark.parametrize("halved", [False, True])
def test_another_formula_is_another_computation_in_either_precision(
    halved: bool, tmp_path: Path
) -> None:
    """A GELU by tanh is at 65 to 74 dB: less than FP32 reaches, and about what FP16 does."""

    def body(mode: str) -> Callable[..., Any]:
        return lambda mb, x: mb.mul(x=mb.gelu(x=x, mode=mode, name="gelu"), y=x, name="y")

    right, wrong = (
        lab_of(tmp_path / f"{mode}.mlpackage", body(mode), (1, 512))
        for mode in ("EXACT", "TANH_APPROXIMATION")
    )
    x = {"x": torch.randn(1, 512, generator=torch.Generator().manual_seed(1))}
    sound = right.model(right.fp32_for(())) if halved else right.base
    assert blamed(three_way(right.base, sound, x)) == []
    found = three_way(right.base, wrong.model(wrong.fp32_for(())) if halved else wrong.base, x)
    assert blamed(found) == [("gelu", "computation")]
    assert found.conclusion == "another computation"
    assert found.culprits[0].matters


def test_what_is_moved_to_another_place_is_another_computation(tmp_path: Path) -> None:
    """A transpose, a slice or the write of a cache computes nothing, and can be wrong."""

    def body(perm: list[int]) -> Callable[..., Any]:
        return lambda mb, x: mb.exp(x=mb.transpose(x=x, perm=perm, name="moved"), name="y")

    right, wrong = (
        lab_of(tmp_path / f"{perm[1]}.mlpackage", body(perm), (4, 6, 6))
        for perm in ([0, 2, 1], [0, 1, 2])
    )
    x = {"x": torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(1))}
    found = three_way(right.base, wrong.base, x)
    assert blamed(found) == [("moved", "computation")]
    assert found.conclusion == "another computation"


def test_a_difference_of_nearly_equal_values_is_cancellation(tmp_path: Path) -> None:
    def body(mb, x):
        return mb.sub(x=x, y=mb.mul(x=x, y=np.float32(0.999), name="nearly"), name="rest")

    program = make_program(body, {"x": (1, 256)}, np.float32)
    lab = VirtualPrecision(mil.load(write_package(program, tmp_path / "x.mlpackage")))
    x = {"x": 1 + torch.rand(1, 256, generator=torch.Generator().manual_seed(1))}
    found = three_way(lab.base, lab.model(lab.fp32_for(())), x)
    assert ("rest", "cancellation") in blamed(found)
    assert found.conclusion == "fp16 is not enough"


def test_a_lost_mean_that_nothing_notices_is_harmless_whatever_else_is_wrong(
    tmp_path: Path,
) -> None:
    """As in HTDemucs: what is taken off at the entrance is put back at the exit."""
    weight = np.eye(256, dtype=np.float32)

    def body(mb, x):
        mean = mb.reduce_mean(x=x, axes=[1], keep_dims=True, name="no_mean")
        rows = mb.linear(x=mb.sub(x=x, y=mean, name="centred"), weight=weight, name="rows")
        return mb.add(x=rows, y=mb.reshape(x=mean, shape=[1, 1]), name="back")

    program = make_program(body, {"x": (1, 256)}, np.float32)
    lab = VirtualPrecision(mil.load(write_package(program, tmp_path / "x.mlpackage")))
    half = lab.model(lab.fp32_for(()))
    x = torch.rand(1, 256, generator=torch.Generator().manual_seed(1))
    x = {"x": x - x.mean() + 3e-7}
    (found,) = three_way(lab.base, half, x).culprits
    assert (found.operation, found.cause) == ("no_mean", "subnormal")
    assert not found.matters
    assert found.readers_db > 70
    linear = find(half, type="linear")[0]
    wrong = edited(half, with_constant(half, linear, "weight", lambda weight: 2 * weight))
    culprits = three_way(lab.base, wrong, x).culprits
    assert [(o.operation, o.matters) for o in culprits] == [("rows", True), ("no_mean", False)]


def test_a_capture_of_the_expected_run_is_as_good(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    found = three_way(small.base, half, signal, capture=captured(half, signal))
    assert found.conclusion == "as good as it has to be"
    assert all(o.deviation_db in (None, float("inf")) for o in found.operations)
    assert sum(o.deviation_db is not None for o in found.operations) == len(found.operations)


def test_a_capture_is_held_to_what_its_device_is_known_to_make(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    """Its tables are worse than one rounding: that is no defect of the package."""
    capture = half.run(signal, taps="all", numerics="ane-m1")
    found = three_way(small.base, half, signal, capture=capture, expected="ane-m1")
    assert found.conclusion == "fp16 is not enough"  # on this device
    assert {cause for _, cause in blamed(found)} == {"rounding"}  # what the device adds itself
    rounded = three_way(small.base, half, signal, capture=capture)
    assert {("gelu", "execution"), ("gate", "execution")} <= set(blamed(rounded))


def test_a_device_with_a_coarse_sigmoid_is_found_in_its_capture(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    capture = captured(half, signal)
    capture["gate"] = (capture["gate"] * 32).round() / 32
    halves = find(half, type="split")[0].outputs[0].name
    capture["gated"] = capture[halves] * capture["gate"]
    capture["gated_cast_fp16"] = capture["gated"]
    found = three_way(small.base, half, signal, capture=capture)
    assert blamed(found) == [("gate", "execution")]
    assert found.conclusion == "worse than fp16 has to be"


def test_a_capture_without_an_output_is_not_evaluated(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    capture = captured(half, signal)
    found = three_way(small.base, half, signal, capture={"gelu": capture["gelu"]})
    assert found.conclusion == "not evaluated"
    assert "gate" in found.unmatched


def test_a_capture_of_something_else_is_refused(
    small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    with pytest.raises(ContractError, match="holds no value"):
        three_way(small.base, half, signal, capture={"other": torch.zeros(1)})
    with pytest.raises(ContractError, match="'gelu' is \\[3\\]"):
        three_way(small.base, half, signal, capture={"gelu": torch.zeros(3)})
    with pytest.raises(ParityError, match="not both"):
        three_way(small.base, half, signal, numerics="native", capture={"gelu": torch.zeros(3)})


@pytest.mark.parametrize("numerics", ["native", "fp16_accumulate", "float64", "storage+ftz"])
def test_any_numerics_can_be_a_target(
    numerics: str, small: VirtualPrecision, half: mil.Model, signal: Signal
) -> None:
    found = three_way(small.base, half, signal, numerics=numerics)
    assert found.conclusion in ("as good as it has to be", "worse than fp16 has to be")
    assert json.dumps(found.to_dict())


def test_a_converted_package_matches_its_fp32_twin_value_by_value(
    narrow: VirtualPrecision, narrow_trace: TracedModel, music: Signal, tmp_path: Path
) -> None:
    package = tmp_path / "x.mlpackage"
    convert_to_coreml(narrow_trace, recipe=load_recipe("mixed"), out=package, subject="narrow")
    model = mil.load(package)
    found = three_way(narrow.base, model, music)
    assert found.unmatched == ()
    assert len(found.operations) > 100
    assert not [o for o in found.culprits if o.cause in ("range", "accumulation")]


def test_an_integer_that_is_cast_to_a_number_has_the_number_as_its_reference(
    tmp_path: Path,
) -> None:
    """Indices have no signal-to-noise ratio: what is made of them has its own."""

    def counted(mb: Any, x: Any) -> list[Any]:
        indices = mb.topk(x=x, k=3, axis=-1)[1]
        number = mb.cast(x=indices, dtype="fp32", name="number")
        loudest = mb.cast(x=mb.reduce_argmax(x=x, axis=-1), dtype="fp32", name="loudest")
        return [mb.mul(x=number, y=np.float32(0.3), name="scaled"), loudest]

    package = write_package(make_program(counted, {"x": (4, 30)}, np.float32), tmp_path / "a")
    lab = VirtualPrecision(mil.load(package))
    narrow = lab.model(lab.fp32_for(()))
    found = three_way(lab.base, narrow, {"x": torch.randn(4, 30)})
    assert found.conclusion == "as good as it has to be"
    assert found.outputs["loudest"] == (math.inf, math.inf)
