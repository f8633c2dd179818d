"""If a package's constants are not its model's tensors, ratios may hide it; these must not."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest
from demucs.htdemucs import HTDemucs

from harness import mil
from harness.conversion import (
    ConvertedPackage,
    WeightComparison,
    compare_weights,
    load_recipe,
    module_paths,
    weights,
)
from harness.mil.editing import edited, find, known_value, with_constant, with_inputs
from harness.mil.program import Operation, Program
from harness.subjects import htdemucs_constants
from suites.selftest.conversion.conftest import Converter

Place: TypeAlias = tuple[str, str, str]
Change: TypeAlias = Callable[[np.ndarray], np.ndarray]

ATTENTION = "crosstransformer.layers.0.self_attn"
HEADS = 2


@pytest.fixture
def model(fp32: ConvertedPackage) -> mil.Model:
    return mil.load(fp32.path)


def operation(model: mil.Model, type: str, module: str) -> Operation:
    return find(model, type=type, modules=module_paths(model), module=module)[0]


def changed(model: mil.Model, network: HTDemucs, place: Place, change: Change) -> WeightComparison:
    """Compare after one constant was changed; ``place`` is type, module and parameter."""
    type_, module, parameter = place
    wrong = with_constant(model, operation(model, type_, module), parameter, change)
    return compare_weights(edited(model, wrong), htdemucs_constants(network))


def swap_heads(weight: np.ndarray) -> np.ndarray:
    """Exchange the first two heads of the queries, the first third of the rows."""
    size = len(weight) // 3 // HEADS
    weight[: 2 * size] = np.roll(weight[: 2 * size], size, axis=0)
    return weight


def flip_exponent_bit(array: np.ndarray) -> np.ndarray:
    array.view(np.uint32).reshape(-1)[17] ^= 1 << 24
    return array


def nudge(array: np.ndarray) -> np.ndarray:
    flat = array.reshape(-1)
    flat[-1] = np.nextafter(flat[-1], array.dtype.type(np.inf))
    return array


def test_every_tensor_of_the_model_is_found(shipped: ConvertedPackage, network: HTDemucs) -> None:
    found = compare_weights(shipped.path, htdemucs_constants(network))
    assert found.verdict == "pass", found.reason
    # All of the state dict, and the positions of both branches.
    assert found.compared == len(network.state_dict()) + 2


shift_by_one = functools.partial(np.roll, shift=1, axis=1)


@pytest.mark.parametrize(
    ("place", "change", "tensor"),
    [
        (("linear", ATTENTION, "weight"), swap_heads, f"{ATTENTION}.in_proj_weight"),
        (("conv", "encoder.1.rewrite", "weight"), flip_exponent_bit, "encoder.1.rewrite.weight"),
        (("conv_transpose", "decoder.1.conv_tr", "bias"), nudge, "decoder.1.conv_tr.bias"),
        (("mul", "tencoder.0.dconv.layers.0.6", "x"), nudge, "tencoder.0.dconv.layers.0.6.scale"),
        (
            ("layer_norm", "crosstransformer.norm_in", "gamma"),
            nudge,
            "crosstransformer.norm_in.weight",
        ),
        (("add", "freq_emb", "y"), nudge, "freq_emb.embedding.weight"),
        (("add", "crosstransformer", "y"), shift_by_one, "crosstransformer.positions"),
    ],
)
def test_one_wrong_constant_is_named(
    model: mil.Model, network: HTDemucs, place: Place, change: Change, tensor: str
) -> None:
    found = changed(model, network, place, change)
    assert found.verdict == "fail"
    assert [difference.tensor for difference in found.differences] == [tensor]


def test_one_unit_in_the_last_place_of_an_fp16_package_is_seen(
    convert: Converter, network: HTDemucs
) -> None:
    model = mil.load(convert(load_recipe("fp16")).path)
    place = ("linear", "crosstransformer.layers_t.1.linear2", "weight")
    found = changed(model, network, place, nudge)
    assert [item.tensor for item in found.differences] == [f"{place[1]}.weight"]


@pytest.mark.parametrize(
    "module", ["crosstransformer.layers.0.linear1", "crosstransformer.layers_t.0.self_attn"]
)
def test_a_dropped_bias_is_seen(model: mil.Model, network: HTDemucs, module: str) -> None:
    """Also where a module reads two biases, and one is still there."""
    without = with_inputs(operation(model, "linear", module), bias=None)
    found = compare_weights(edited(model, without), htdemucs_constants(network))
    assert found.verdict == "fail"
    assert found.differences[0].tensor.startswith(f"{module}.")


def test_biases_of_two_modules_in_each_others_place_are_seen(
    model: mil.Model, network: HTDemucs
) -> None:
    """Every number of the model is in such a package, only not where it belongs."""
    modules = ["encoder.1.rewrite", "tencoder.1.rewrite"]
    one, other = (operation(model, "conv", module) for module in modules)
    crossed = edited(
        model,
        with_inputs(one, bias=known_value(model, other, "bias")),
        with_inputs(other, bias=known_value(model, one, "bias")),
    )
    found = compare_weights(crossed, htdemucs_constants(network))
    assert {item.tensor for item in found.differences} == {f"{name}.bias" for name in modules}


def test_a_tensor_that_the_model_does_not_have_is_seen(model: mil.Model, network: HTDemucs) -> None:
    """Here one that replaces the epsilon of the normalisation in front of the network."""
    epsilon = operation(model, "add", "norm_freq")
    shifted = with_inputs(epsilon, y=np.full((1, 1, 1, 1), 0.1, np.float32))
    found = compare_weights(edited(model, shifted), htdemucs_constants(network))
    assert [item.tensor for item in found.differences] == ["bias of norm_freq"]


def test_a_missing_scale_is_seen_unless_it_changes_nothing(
    model: mil.Model, network: HTDemucs
) -> None:
    """Conversion takes out the GroupNorm of an untrained network: a scale of ones, no shift."""
    norm = "encoder.0.dconv.layers.0.1"
    assert f"{norm}.weight" in network.state_dict()
    other = copy.deepcopy(network)
    other.state_dict()[f"{norm}.weight"][0] = 1.5
    found = compare_weights(model, htdemucs_constants(other))
    assert [item.tensor for item in found.differences] == [f"{norm}.weight"]


def test_other_weights_of_the_same_architecture_are_seen(
    model: mil.Model, network: HTDemucs
) -> None:
    other = copy.deepcopy(network)
    for tensor in other.state_dict().values():
        tensor.mul_(1.001).add_(0.001)
    found = compare_weights(model, htdemucs_constants(other))
    assert len(found.differences) == len(network.state_dict())


def test_what_would_vanish_in_fp16_may_be_the_smallest_number(network: HTDemucs) -> None:
    """coremltools stores 6e-8 for 1e-9 in short tensors, so that nothing is divided by zero."""
    expected = np.array([1e-9, -1e-9, 1.0, 1e-9, 0.0], np.float32)
    actual = np.array([6e-8, -6e-8, 1.0, -6e-8, 6e-8], np.float16)
    assert weights._equal(expected, actual).tolist() == [True, True, True, False, False]


def test_compressed_weights_are_those_of_the_model(
    packed: ConvertedPackage, wide_network: HTDemucs
) -> None:
    found = compare_weights(packed.path, htdemucs_constants(wide_network))
    assert found.verdict == "pass", found.reason
    assert found.compared == len(wide_network.state_dict()) + 2


STORED = {
    "int8": ("constexpr_blockwise_shift_scale", "data", "scale"),
    "palette": ("constexpr_lut_to_dense", "indices", "lut"),
}


def compressed_tensor(model: mil.Model, type: str) -> tuple[Operation, str]:
    """Return what first makes the weight of a layer so, and the module of the layer."""
    made = {o.outputs[0].name: o for o in model.operations if o.type == type}
    for reader in model.operations:
        for name in reader.input_names:
            if name in made and reader.type != "add":
                return made[name], module_paths(model)[reader.outputs[0].name]
    raise AssertionError("nothing is compressed so")


def another_number(array: np.ndarray) -> np.ndarray:
    flat = array.reshape(-1)
    flat[17] = flat[17] - 5 if flat[17] > 7 else flat[17] + 5
    return array


def one_percent_more(array: np.ndarray) -> np.ndarray:
    array.reshape(-1)[3] *= array.dtype.type(1.01)
    return array


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("place", [1, 2], ids=["number", "scale or table"])
def test_one_wrong_number_of_a_compressed_weight_is_named(
    stored: str, place: int, packed: ConvertedPackage, wide_network: HTDemucs
) -> None:
    model = mil.load(packed.path)
    constexpr, module = compressed_tensor(model, STORED[stored][0])
    change = (another_number, one_percent_more)[place - 1]
    wrong = with_constant(model, constexpr, STORED[stored][place], change)
    found = compare_weights(edited(model, wrong), htdemucs_constants(wide_network))
    assert found.verdict == "fail"
    assert [item.tensor.startswith(module) for item in found.differences] == [True]


@pytest.mark.parametrize("stored", STORED)
def test_other_weights_behind_a_compression_are_seen(
    stored: str, packed: ConvertedPackage, wide_network: HTDemucs
) -> None:
    other = copy.deepcopy(wide_network)
    model = mil.load(packed.path)
    _, module = compressed_tensor(model, STORED[stored][0])
    for name, tensor in other.state_dict().items():
        if name.startswith(module) and tensor.ndim > 1:
            tensor.copy_(tensor.flip(0))
    found = compare_weights(model, htdemucs_constants(other))
    assert found.verdict == "fail"
    assert {item.tensor.startswith(module) for item in found.differences} == {True}


def test_a_package_without_module_paths_is_not_evaluated(
    model: mil.Model, network: HTDemucs
) -> None:
    stranger = replace(model.package, metadata={})
    assert compare_weights(stranger, htdemucs_constants(network)).verdict == "not_evaluated"


def test_a_package_with_branches_is_not_evaluated(
    fp32: ConvertedPackage, network: HTDemucs
) -> None:
    """Constants inside blocks may run any number of times; the comparison doesn't guess."""
    model = mil.load(fp32.path)
    operations = model.plan.function.block.operations
    last = operations[-1]
    inside = replace(last, blocks=(replace(model.plan.function.block, operations=(), outputs=()),))
    block = replace(model.plan.function.block, operations=(*operations[:-1], inside))
    program = Program({"main": replace(model.plan.function, block=block)})
    package = replace(model.package, program=program)
    comparison = compare_weights(package, htdemucs_constants(network))
    assert comparison.verdict == "not_evaluated"
    assert "any number of times" in comparison.reason
