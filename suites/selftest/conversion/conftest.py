from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from demucs.htdemucs import HTDemucs

from harness.conversion import (
    ConvertedPackage,
    PrecisionRecipe,
    TracedModel,
    convert_to_coreml,
    load_recipe,
    trace_inner_model,
)
from harness.conversion.recipes import parse_recipe
from harness.subjects.surgery import FullHybridHTDemucs, extract_inner_model
from suites.selftest.networks import narrow_network

Converter = Callable[[PrecisionRecipe], ConvertedPackage]

_ENCODER_FP32 = """
name = "encoder-fp32"
default = "fp16"
[[rules]]
precision = "fp32"
modules = ["encoder.0"]
[[rules]]
precision = "fp16"
modules = ["encoder.0.dconv.layers"]
types = ["conv"]
"""

_COMPRESSED = """
name = "compressed"
default = "fp16"
[[rules]]
weights = "palette4"
types = ["*"]
[[rules]]
weights = "int8"
types = ["conv*"]
[[rules]]
weights = "float"
modules = ["freq_emb"]
[[rules]]
precision = "fp32"
types = ["conv"]
"""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The tensors here are too small to be worth sharing between threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def network() -> HTDemucs:
    """The whole architecture, but shallow, narrow and a quarter of a second long."""
    return narrow_network(["a", "b", "c"], t_layers=2)


@pytest.fixture(scope="session")
def inner(network: HTDemucs) -> FullHybridHTDemucs:
    return extract_inner_model(network)


@pytest.fixture(scope="session")
def traced(inner: FullHybridHTDemucs) -> TracedModel:
    return trace_inner_model(inner)


@pytest.fixture(scope="session")
def convert(traced: TracedModel, tmp_path_factory: pytest.TempPathFactory) -> Converter:
    """Convert by a recipe, each recipe once in a session."""
    folder = tmp_path_factory.mktemp("packages")
    done: dict[PrecisionRecipe, ConvertedPackage] = {}

    def once(recipe: PrecisionRecipe) -> ConvertedPackage:
        if recipe not in done:
            done[recipe] = convert_to_coreml(
                traced,
                recipe=recipe,
                out=folder / f"{recipe.name}.mlpackage",
                subject="tiny",
                fingerprint="0" * 64,
                command="parity convert tiny",
            )
        return done[recipe]

    return once


@pytest.fixture(params=["fp32", "fp16", "mixed"])
def shipped(request: pytest.FixtureRequest, convert: Converter) -> ConvertedPackage:
    """The package of each recipe that is shipped."""
    return convert(load_recipe(request.param))


@pytest.fixture(scope="session")
def fp32(convert: Converter) -> ConvertedPackage:
    return convert(load_recipe("fp32"))


@pytest.fixture(scope="session")
def mixed(convert: Converter) -> ConvertedPackage:
    return convert(load_recipe("mixed"))


@pytest.fixture(scope="session")
def encoder_recipe() -> PrecisionRecipe:
    """A recipe that a package without module paths can't be judged by."""
    return parse_recipe(_ENCODER_FP32, "test")


@pytest.fixture(scope="session")
def by_module(
    traced: TracedModel,
    encoder_recipe: PrecisionRecipe,
    tmp_path_factory: pytest.TempPathFactory,
) -> ConvertedPackage:
    """A package by a recipe with rules by module, for the last system without fused attention."""
    return convert_to_coreml(
        traced,
        recipe=encoder_recipe,
        out=tmp_path_factory.mktemp("by_module") / "encoder.mlpackage",
        subject="tiny",
        target="iOS17",
    )


@pytest.fixture(scope="session")
def wide_network() -> HTDemucs:
    """A network with weights of every kind that are large enough to be compressed."""
    return narrow_network(["a", "b"], t_layers=1, bottom_channels=48)


@pytest.fixture(scope="session")
def wide_trace(wide_network: HTDemucs) -> TracedModel:
    return trace_inner_model(extract_inner_model(wide_network))


@pytest.fixture(scope="session")
def packed(wide_trace: TracedModel, tmp_path_factory: pytest.TempPathFactory) -> ConvertedPackage:
    """Weights as integers, in tables, and as they are."""
    recipe = parse_recipe(_COMPRESSED, "test")
    out = tmp_path_factory.mktemp("packed") / "packed.mlpackage"
    return convert_to_coreml(wide_trace, recipe=recipe, out=out, subject="wide")


@pytest.fixture
def target_path(tmp_path: Path) -> Path:
    return tmp_path / "out.mlpackage"
