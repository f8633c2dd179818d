"""Seeded weights are the same everywhere, and every block of the network counts."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest
import torch
from demucs.demucs import DConv
from demucs.htdemucs import HTDemucs
from hypothesis import given
from hypothesis import strategies as st
from subjects_models import TINY
from torch import nn

from harness.subjects import Architecture, load_subject, run_original
from harness.subjects.seeded import _unit_uniform, seeded_state
from harness.subjects.weights import empty_model, model_from_state


def snr_db(expected: torch.Tensor, actual: torch.Tensor) -> float:
    error = (expected.double() - actual.double()).square().sum()
    return 10 * math.log10(float(expected.double().square().sum() / error))


def rms(tensor: torch.Tensor) -> float:
    return float(tensor.double().square().mean().sqrt())


@contextmanager
def replaced(module: nn.Module, forward: Callable[..., torch.Tensor]) -> Iterator[None]:
    module.forward = forward
    yield
    del module.forward


@pytest.fixture
def deaf(model: HTDemucs) -> HTDemucs:
    """The model without what its attention adds."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, nn.MultiheadAttention):
            nn.init.zeros_(module.out_proj.weight)
            nn.init.zeros_(module.out_proj.bias)
    return copied


def test_zeroing_all_attention_is_heard(model: HTDemucs, deaf: HTDemucs, mix: torch.Tensor) -> None:
    assert snr_db(model(mix), deaf(mix)) < 30


def test_where_attention_looks_is_heard(model: HTDemucs, mix: torch.Tensor) -> None:
    """Attention that looks everywhere alike would hide permuted heads and shifted positions."""
    expected = model(mix)
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.in_proj_weight[: 2 * module.embed_dim] = 0
    assert snr_db(expected, model(mix)) < 55


def test_removing_any_one_transformer_layer_is_heard(model: HTDemucs, mix: torch.Tensor) -> None:
    expected = model(mix)
    for branch in (model.crosstransformer.layers, model.crosstransformer.layers_t):
        for index, layer in enumerate(branch):
            with replaced(layer, lambda x, *_: x):
                assert snr_db(expected, model(mix)) < 50, f"layer {index} does nothing"


def test_removing_any_one_residual_branch_is_heard(model: HTDemucs, mix: torch.Tensor) -> None:
    expected = model(mix)
    branches = {name: module for name, module in model.named_modules() if isinstance(module, DConv)}
    assert len(branches) == 16
    for name, module in branches.items():
        with replaced(module, lambda x: x):
            assert snr_db(expected, model(mix)) < 50, f"{name} does nothing"


def test_biases_of_any_one_stage_are_heard(model: HTDemucs, mix: torch.Tensor) -> None:
    """A dropped bias is a conversion bug that wide gates miss; here it must change something."""
    expected = model(mix)
    biases: dict[str, list[torch.Tensor]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parts = name.split(".")
            biases[".".join(parts[: 3 if parts[0] == "crosstransformer" else 2])].append(parameter)
    assert len(biases) == 4 * 4 + 4 + 2 + 2 * 5
    for stage, parameters in biases.items():
        kept = [parameter.clone() for parameter in parameters]
        for parameter in parameters:
            parameter.zero_()
        assert snr_db(expected, model(mix)) < 60, f"the biases of {stage} do nothing"
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)


@pytest.mark.parametrize("amplitude", [1e-3, 0.1, 1.0])
def test_signal_neither_dies_nor_explodes(
    model: HTDemucs, mix: torch.Tensor, amplitude: float
) -> None:
    outputs = run_original(model, amplitude * mix, taps=None)
    for name, tap in outputs.taps.items():
        if name not in ("freq", "time"):
            assert 0.02 < rms(tap) < 10, name
    for index in range(outputs.stems.shape[1]):
        assert 0.1 < rms(outputs.stems[:, index]) / rms(amplitude * mix) < 5


def test_weights_do_not_depend_on_the_order_of_modules() -> None:
    model = empty_model(TINY)
    whole = seeded_state(model, 0)
    assert list(whole) == list(model.state_dict())
    shuffled = empty_model(TINY)
    shuffled._modules = dict(reversed(list(shuffled._modules.items())))
    for name, value in seeded_state(shuffled, 0).items():
        assert torch.equal(value, whole[name])


def test_global_random_state_is_neither_used_nor_changed(tiny: Architecture) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load_subject("tiny@seeded").fingerprint
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert load_subject("tiny@seeded").fingerprint == first


def test_bits_are_a_contract() -> None:
    """Goldens are keyed by these bits. They come from integers by three exact or single-rounded
    operations, recomputed here in rational arithmetic."""
    values = _unit_uniform("encoder.0.conv.weight", 7, (5,))
    seed = int.from_bytes(sha256(b"7:encoder.0.conv.weight").digest()[:16], "little")
    raw = np.random.PCG64(seed).random_raw(3)
    halves = [int(word) >> shift & 0xFFFF_FFFF for word in raw for shift in (0, 32)][:5]
    scale = Fraction(float(np.float32(math.sqrt(3) * 2.0**-23)))
    for value, half in zip(values, halves, strict=True):
        exact = (Fraction(half >> 8) - (2**23 - Fraction(1, 2))) * scale
        assert value == np.float32(exact.numerator / exact.denominator)


@given(st.text(min_size=1, max_size=20), st.integers(0, 2**63 - 1))
def test_values_have_mean_zero_and_deviation_one(name: str, seed: int) -> None:
    values = _unit_uniform(name, seed, (4000,)).astype(np.float64)
    assert abs(values.mean()) < 0.1
    assert abs(values.std() - 1) < 0.05
    assert np.abs(values).max() <= math.sqrt(3)


def test_other_seeds_and_names_give_other_values() -> None:
    draws = {_unit_uniform(name, seed, (64,)).tobytes() for name in "ab" for seed in (0, 1)}
    assert len(draws) == 4


def test_model_is_ready_for_inference(state: dict[str, torch.Tensor]) -> None:
    model = model_from_state(TINY, state)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
