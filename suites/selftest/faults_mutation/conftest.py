"""A small network with taps, and a program with one operation of most types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness import mil
from harness.conversion import convert_to_coreml, load_recipe, trace_inner_model
from harness.subjects import extract_inner_model, run_extracted
from suites.ops.packages import write_package
from suites.selftest.faults_mutation.tiny import TinyTarget
from suites.selftest.mil.conftest import make_program
from suites.selftest.networks import narrow_network

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> TinyTarget:
    """The whole architecture, shallow, narrow and a quarter of a second long, with its taps."""
    model = narrow_network(["a", "b"], t_layers=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inner = extract_inner_model(model)
        folder = tmp_path_factory.mktemp("mutations")
        package = folder / "tiny.mlpackage"
        recipe = load_recipe("fp32")
        convert_to_coreml(trace_inner_model(inner), recipe=recipe, out=package, subject="tiny")
        goldens = {}
        for case in ("song", "noise", "held-out song"):
            spectrogram, audio = 0.1 * torch.randn(1, 4, 2048, 11), 0.1 * torch.randn(1, 2, 11025)
            taps = run_extracted(inner, {"spectrogram": spectrogram, "audio": audio}, taps=None)
            goldens[case] = {
                name if name in ("freq", "time") else f"tap.{name}": tensor.numpy()
                for name, tensor in taps.items()
            }
            goldens[case] |= {"spectrogram": spectrogram.numpy(), "audio": audio.numpy()}
    np.savez(
        folder / "goldens.npz", **{f"{c}/{n}": a for c, g in goldens.items() for n, a in g.items()}
    )
    return TinyTarget(package, folder / "goldens.npz")


def zoo(mb: Any, x: Any) -> Any:
    """Operations of many types on x [2, 4, 6]."""
    y = mb.conv(x=x, weight=normal(4, 4, 3), bias=normal(4), pad=[1, 1], pad_type="custom")
    mean = mb.reduce_mean(x=y, axes=[1, 2], keep_dims=True)
    centred = mb.sub(x=y, y=mean)
    power = mb.reduce_mean(x=mb.square(x=centred), axes=[1, 2], keep_dims=True)
    y = mb.real_div(x=centred, y=mb.sqrt(x=mb.add(x=power, y=np.float32(1e-5))))
    y = mb.add(x=mb.mul(x=y, y=normal(1, 4, 1)), y=normal(1, 4, 1))
    y = mb.gelu(x=y, mode="EXACT")
    halves = mb.split(x=y, axis=1, num_splits=2)
    y = mb.mul(x=halves[0], y=mb.sigmoid(x=halves[1]))
    y = mb.transpose(x=mb.reshape(x=y, shape=[2, 3, 4]), perm=[0, 2, 1])
    y = mb.layer_norm(x=y, axes=[-1], gamma=normal(3), beta=normal(3), epsilon=np.float32(1e-5))
    y = mb.linear(x=y, weight=normal(3, 3), bias=normal(3))
    q = mb.reshape(x=y, shape=[2, 2, 2, 3])
    y = mb.scaled_dot_product_attention(query=q, key=mb.sub(x=q, y=normal(1)), value=q)
    y = mb.pad(
        x=mb.reshape(x=y, shape=[2, 4, 3]),
        pad=[0, 0, 0, 1],
        mode="constant",
        constant_val=np.float32(0),
    )
    y = mb.conv_transpose(x=y, weight=normal(4, 2, 4), bias=normal(2), strides=[2])
    y = mb.slice_by_index(x=y, begin=[0, 0, 1], end=[2, 2, 9])
    return mb.mul(
        x=mb.squeeze(x=mb.expand_dims(x=y, axes=[0]), axes=[0]), y=np.float32(3), name="y"
    )


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> mil.Model:
    path: Path = tmp_path_factory.mktemp("zoo") / "zoo.mlpackage"
    return mil.load(write_package(make_program(zoo, {"x": (2, 4, 6)}, np.float32), path))


@pytest.fixture(scope="session")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 4, 6)).astype(np.float32)
