"""A small program with every kind of neighbour, and a narrow HTDemucs, both in FP32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import mil
from harness._coremltools import import_coremltools
from harness.audio import SAMPLE_RATE
from harness.audio.stft import spectrogram_from_waveform
from harness.conversion import TracedModel, convert_to_coreml, load_recipe, trace_inner_model
from harness.precision.sensitivity import Stems
from harness.precision.virtual import VirtualPrecision
from harness.subjects.htdemucs import stem_waveform
from harness.subjects.surgery import extract_inner_model
from suites.ops.packages import write_package
from suites.selftest.networks import narrow_network

_random = np.random.default_rng(5)
FILTERS = _random.standard_normal((6, 4, 3)).astype(np.float32)
MATRIX = (0.4 * _random.standard_normal((6, 6))).astype(np.float32)
SCALE = _random.standard_normal((6, 1)).astype(np.float32)
STEMS = Stems(("drums", "vocals"), stem_waveform, SAMPLE_RATE)
TINY_EPSILON = np.float32(1e-9)
"""Zero in FP16, unless it is kept from becoming that."""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The tensors here are too small to be worth sharing between threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network(mb: Any, x: Any) -> Any:
    """A convolution, a norm, a residual branch, a gate and a linear layer; two outputs."""
    y = mb.conv(x=x, weight=FILTERS, pad_type="same", name="conv")
    mean = mb.reduce_mean(x=y, axes=[1, 2], keep_dims=True, name="mean")
    centred = mb.sub(x=y, y=mean, name="centred")
    variance = mb.reduce_mean(
        x=mb.square(x=centred, name="squared"), axes=[1, 2], keep_dims=True, name="variance"
    )
    deviation = mb.sqrt(x=mb.add(x=variance, y=TINY_EPSILON, name="shifted"), name="deviation")
    normal = mb.mul(x=mb.real_div(x=centred, y=deviation, name="normal"), y=SCALE, name="scaled")
    rows = mb.transpose(x=mb.gelu(x=normal, mode="EXACT", name="gelu"), perm=[0, 2, 1], name="rows")
    mixed = mb.linear(x=rows, weight=MATRIX, name="mixed")
    parts = mb.split(x=mb.add(x=mixed, y=rows, name="sum"), num_splits=2, axis=2, name="halves")
    gated = mb.mul(x=parts[0], y=mb.sigmoid(x=parts[1], name="gate"), name="gated")
    return gated, mb.reshape(x=normal, shape=[6, -1], name="flat")


def network_program() -> Any:
    """Return ``network`` as a MIL program of coremltools in FP32."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    program = Program()
    with Function({"x": mb.placeholder((1, 4, 40), types.fp32)}, ct.target.iOS18) as function:
        function.set_outputs(list(network(mb, function.inputs["x"])))
    program.add_function("main", function)
    return program


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> VirtualPrecision:
    path = tmp_path_factory.mktemp("precision") / "small.mlpackage"
    return VirtualPrecision(mil.load(write_package(network_program(), path)))


@pytest.fixture
def signal() -> dict[str, torch.Tensor]:
    return {"x": torch.from_numpy(np.random.default_rng(1).standard_normal((1, 4, 40))).float()}


@pytest.fixture(scope="session")
def narrow_trace() -> TracedModel:
    """The whole architecture, but shallow, narrow and a quarter of a second long."""
    model = narrow_network(["drums", "vocals"], t_layers=1)
    return trace_inner_model(extract_inner_model(model))


@pytest.fixture(scope="session")
def narrow_path(narrow_trace: TracedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("narrow") / "fp32.mlpackage"
    convert_to_coreml(narrow_trace, recipe=load_recipe("fp32"), out=out, subject="narrow")
    return out


@pytest.fixture(scope="session")
def narrow(narrow_path: Path) -> VirtualPrecision:
    return VirtualPrecision(mil.load(narrow_path))


def tone_in_noise(length: int, seed: int) -> dict[str, torch.Tensor]:
    """Return the inputs of a network for a tone in noise."""
    generator = np.random.default_rng(seed)
    tone = 0.2 * np.sin(0.05 * np.arange(length) + np.arange(2)[:, None])
    audio = torch.from_numpy(tone + 0.1 * generator.standard_normal((2, length))).float()[None]
    return {"spectrogram": spectrogram_from_waveform(audio), "audio": audio}


@pytest.fixture(scope="session")
def music(narrow_trace: TracedModel) -> dict[str, torch.Tensor]:
    return tone_in_noise(narrow_trace.interface.inputs["audio"][-1], seed=2)
