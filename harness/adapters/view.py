"""A package that takes the contract's inputs and shows the contract's outputs, by an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.adapters.adapter import Adapter, check_fits
from harness.adapters.layout import Sizes
from harness.errors import ContractError
from harness.mil import DataType, Model, Numerics
from harness.mil.features import Feature

Arrays = Mapping[str, np.ndarray]


class _Session(Protocol):
    def predict(self, inputs: Arrays, *, taps: Sequence[str] = ()) -> dict[str, np.ndarray]: ...


def package_shapes(model: Model) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shapes of a package's inputs and outputs, by name.

    Raises:
        ContractError: one is flexible, or no tensor.
    """
    made: dict[str, dict[str, tuple[int, ...]]] = {}
    for kind, features in (("inputs", model.inputs), ("outputs", model.outputs)):
        made[kind] = {feature.name: _shape(model, feature) for feature in features}
    return made


def _shape(model: Model, feature: Feature) -> tuple[int, ...]:
    shape = feature.shape if feature.shape is None else feature.rule.default or feature.shape
    sizes = tuple(size for size in shape or () if size is not None)
    if shape is None or len(sizes) < len(shape):
        raise ContractError(
            f"{model.package.path} has {feature}, which has no fixed shape; adapters are for "
            "packages of one segment"
        )
    return sizes


class AdaptedModel:
    """A package in its adapter.

    Args:
        model: the package.
        adapter: what its inputs and outputs are.
        sizes: of the network.

    Attributes:
        half_inputs: names of the package's inputs in FP16.
        half_outputs: whether an output is in FP16.

    Raises:
        ContractError: the adapter speaks of other inputs or outputs.
    """

    def __init__(self, model: Model, adapter: Adapter, sizes: Sizes) -> None:
        check_fits(adapter, package_shapes(model), sizes)
        self.model, self.adapter, self.sizes = model, adapter, sizes
        self._types = {feature.name: feature.dtype for feature in model.inputs}
        self.half_inputs = frozenset(n for n, t in self._types.items() if t is DataType.FLOAT16)
        self.half_outputs = any(f.dtype is DataType.FLOAT16 for f in model.outputs)

    def predict(
        self,
        inputs: Arrays,
        *,
        taps: Sequence[str] = (),
        numerics: str | Numerics = "storage",
    ) -> dict[str, np.ndarray]:
        """Return what the package shows of the contract's inputs, and taps by its own names."""
        made = self.model.predict(self.own_inputs(inputs), taps=taps, numerics=numerics)
        return self.shown(made, inputs) | {name: made[name] for name in taps}

    def own_inputs(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the package's inputs of the contract's, in the types that it takes."""
        fed = self.adapter.feed(_tensors(inputs), self.sizes)
        with np.errstate(over="ignore"):
            return {n: value.numpy().astype(self._types[n].numpy) for n, value in fed.items()}

    def carried_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the package's inputs of the contract's as `Model.run` takes them, in float32."""
        fed = self.adapter.feed(inputs, self.sizes)
        return {n: v.half().float() if n in self.half_inputs else v for n, v in fed.items()}

    def shown(self, outputs: Mapping[str, Any], inputs: Arrays) -> dict[str, np.ndarray]:
        """Return what outputs of the package show."""
        own = {
            n: torch.from_numpy(np.asarray(outputs[n], np.float32)) for n in self.adapter.outputs
        }
        made = self.adapter.read(own, _tensors(inputs), self.sizes)
        return {name: value.numpy() for name, value in made.items()}

    def expected(self, values: Arrays) -> dict[str, np.ndarray]:
        """Return what it should show, of what PyTorch made."""
        made = self.adapter.expected(_tensors(values))
        return {name: value.numpy() for name, value in made.items()}

    def seen(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return the contract's inputs as the package sees them, where it takes FP16."""
        made = self.adapter.lost(_tensors(inputs), self.half_inputs, self.sizes)
        return {name: value.numpy() for name, value in made.items()}


class AdaptedSession:
    """A session of any engine in an adapter."""

    def __init__(self, session: _Session, view: AdaptedModel) -> None:
        self._session, self._view = session, view

    def predict(self, inputs: Arrays, *, taps: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Execute once; returns what the package shows."""
        made = self._session.predict(self._view.own_inputs(inputs), taps=taps)
        return self._view.shown(made, inputs) | {name: made[name] for name in taps}


def _tensors(arrays: Arrays) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
