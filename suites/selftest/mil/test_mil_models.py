"""Converted models of many kinds compute what PyTorch computes, to 1e-4 in FP32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import mil
from harness._coremltools import import_coremltools
from suites.selftest.mil.converting import converted
from suites.selftest.mil.models import (
    CachedAttention,
    Enhancer,
    ImageNetwork,
    Iterated,
    OpenUnmix,
    live,
)


def noise(*shape, seed=1, scale=1.0):
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_close(actual, expected):
    expected = expected.detach().numpy()
    assert np.abs(expected).max() > 1e-2, "nothing to compare"
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def values(model, **inputs):
    results = model.predict({name: tensor.numpy() for name, tensor in inputs.items()})
    return [results[feature.name] for feature in model.outputs]


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (OpenUnmix(), noise(12, 1, 2, 65).abs()),
        (ImageNetwork(), noise(1, 3, 64, 48)),
    ],
    ids=["recurrent separator", "image network"],
)
def test_a_traced_model(tmp_path, module, example):
    ct = import_coremltools()
    module = live(module)
    inputs = [ct.TensorType("x", shape=tuple(example.shape))]
    model = mil.load(converted(tmp_path / "traced.mlpackage", module, inputs, example))
    expected = module(example)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for actual, tensor in zip(values(model, x=example), expected, strict=True):
        assert_close(actual, tensor)


def test_a_decoder_that_keeps_its_keys_and_values(tmp_path):
    """Position by position with a state, it says what the whole sequence says at once."""
    ct = import_coremltools()
    length, width = 8, 32
    module = live(CachedAttention(length, width))
    example = noise(1, 1, width), torch.eye(length)[0], torch.zeros(length)
    inputs = [
        ct.TensorType("x", shape=(1, 1, width)),
        ct.TensorType("place", shape=(length,)),
        ct.TensorType("mask", shape=(length,)),
    ]
    states = [
        ct.StateType(ct.TensorType(shape=buffer.shape, dtype=np.float16), name=name)
        for name, buffer in module.named_buffers()
    ]
    package = converted(tmp_path / "cached.mlpackage", module, inputs, *example, states=states)
    model = mil.load(package)
    sequence = noise(1, length, width, seed=2)
    expected = module.whole(sequence)
    state, other = model.new_state(), model.new_state()
    for position in range(length):
        mask = torch.where(torch.arange(length) > position, -1e4, 0.0)
        given = {
            "x": sequence[:, position : position + 1].numpy(),
            "place": torch.eye(length)[position].numpy(),
            "mask": mask.numpy(),
        }
        (actual,) = model.predict(given, state=state).values()
        assert_close(actual[0, 0], expected[0, position])
    assert state.read("keys").any()
    assert not other.read("keys").any()


def test_a_scripted_model_branches_and_loops(tmp_path):
    ct = import_coremltools()
    module = live(Iterated())
    inputs = [ct.TensorType("x", shape=(1, 6))]
    model = mil.load(converted(tmp_path / "loop.mlpackage", module, inputs, script=True))
    counts = set()
    for seed, scale in ((1, 3.0), (2, 0.1), (3, -2.0), (5, 20.0)):
        x = noise(1, 6, seed=seed, scale=scale)
        expected, steps = module(x)
        actual, counted = values(model, x=x)
        assert_close(actual, expected)
        assert counted == steps.numpy()
        counts.add(int(steps))
    assert len(counts) > 2, "the loop must depend on its input"


def test_a_waveform_of_any_length(tmp_path):
    ct = import_coremltools()
    module = live(Enhancer())
    inputs = [ct.TensorType("x", shape=(1, 1, ct.RangeDim(16, 4096, default=64)))]
    model = mil.load(converted(tmp_path / "any.mlpackage", module, inputs, noise(1, 1, 64)))
    for length in (16, 64, 1000):
        x = noise(1, 1, length)
        (actual,) = values(model, x=x)
        assert_close(actual, module(x))
