"""The constants of a Core ML program as named tensors, from a package or a compiled model.

Under their own names, every tensor of floats that an operation reads, as it is stored: FP16 stays
FP16, and what is compressed is expanded. Or under a checkpoint's names, where the package records
the PyTorch modules that its operations were made from: then a tensor is put together from the
constants of its module (conversion stores an attention's projections in one piece or in two) and
has the checkpoint's shape. A table that the program holds multiplied is divided again where every
number has exactly one origin (`harness.weights.undoing`), and else left out, and said. What
conversion takes out because it changes nothing (a scale of ones, a bias of zeros) is put back.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.conversion import constants_by_place
from harness.conversion.packed import packed_weights
from harness.mil.graph import graph_of
from harness.mil.model import opened
from harness.mil.types import TensorType
from harness.subjects.protocol import Network
from harness.weights.files import WeightsError, model_like
from harness.weights.undoing import undo

Numbers = npt.NDArray[Any]

_MOST_PIECES: Final = 6
_OTHER: Final = (
    "it is of another network; name that one, or extract its constants without --subject"
)
_NEUTRAL: Final = {"weight": 1.0, "bias": 0.0}


@dataclass(frozen=True)
class Extraction:
    """What was taken out of a package.

    Attributes:
        tensors: by name.
        notes: what was left out or put back, a sentence each.
        missing: names of what was left out.
    """

    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def extract(path: Path, subject: str | None = None) -> Extraction:
    """Return the tensors of a package.

    Args:
        path: an ``.mlpackage`` or ``.mlmodelc`` folder.
        subject: gives the checkpoint's names and shapes; without it, the program's own names.

    Raises:
        PackageError: ``path`` is none, or broken.
        WeightsError: the package doesn't record its modules, or holds other tensors than those of
            ``subject``.
    """
    return _own(path) if subject is None else _of_checkpoint(path, *model_like(subject))


def _own(path: Path) -> Extraction:
    package = opened(path)
    function = package.program.function(package.default_function)
    packed = packed_weights(package, function)
    found: dict[str, Tensor] = {}
    for node in graph_of(function).nodes:
        if node.operation.type.startswith("constexpr_"):
            continue
        for parameter, value in sorted(node.inputs, key=lambda pair: pair[0]):
            name = value.name or f"{node.operation.outputs[0].name}.{parameter}"
            if value.name in packed:
                found[name] = _tensor(packed[value.name].array)
            elif value.constant is not None and isinstance(value.constant.type, TensorType):
                kind = value.constant.type
                if kind.dtype.is_floating and kind.shape:
                    found[name] = _tensor(package.constants.array(value.constant))
    return Extraction(found)


def _of_checkpoint(path: Path, network: Network, model: nn.Module) -> Extraction:
    if not network.knows_constants:
        raise WeightsError(
            f"network {network.name!r} doesn't know its constants: conversion folds tensors into "
            "others; without --subject the package's own are extracted under their own names"
        )
    held = constants_by_place(path)
    if held is None:
        raise WeightsError(
            f"{path} doesn't record the PyTorch modules that its operations were made from; "
            "without --subject its constants are extracted under their own names"
        )
    state, factors = set(model.state_dict()), network.factors(model)
    found: dict[str, Tensor] = {}
    notes: list[str] = []
    put_back: list[str] = []
    places = network.constants(model)
    strange = sorted(held.keys() - places.keys())
    if strange:
        raise WeightsError(f"{path} holds a {strange[0][1]} of {strange[0][0]}: {_OTHER}")
    for (module, role), tensors in places.items():
        if tensors[0][0] not in state:
            continue  # computed, as the transformer's positions are: no checkpoint has it
        there = held.get((module, role), [])
        if not there:
            if any(array.ndim > 1 for _, array in tensors):
                names = " and ".join(name for name, _ in tensors)
                raise WeightsError(f"{path} has no constants for {names}: {_OTHER}")
            put_back += [name for name, _ in tensors]
            there = [np.full(array.size, _NEUTRAL[role], array.dtype) for _, array in tensors]
        for (name, array), part in zip(tensors, _arranged(tensors, there), strict=True):
            values: Numbers | str = part.reshape(array.shape)
            if name in factors:
                values = undo(part.reshape(array.shape).T, factors[name])
            if isinstance(values, str):
                notes.append(f"left out: {name}, {values}")
            else:
                found[name] = _tensor(values)
    in_order = {name: found[name] for name in model.state_dict() if name in found}
    if put_back:
        ends = " to ".join(dict.fromkeys((put_back[0], put_back[-1])))
        notes.append(f"put back, scales of ones or biases of zeros: {len(put_back)}, {ends}")
    missing = tuple(name for name in model.state_dict() if name not in found)
    return Extraction(in_order, tuple(notes), missing)


def _arranged(tensors: Sequence[tuple[str, Numbers]], held: Sequence[Numbers]) -> list[Numbers]:
    """Return the flat numbers of each tensor: in program order if it fits, or in the one that does.

    Raises:
        WeightsError: no order gives the tensors their sizes, or several do.
    """
    names = " and ".join(name for name, _ in tensors)
    sizes = [array.size for _, array in tensors]
    ends = set(np.cumsum(sizes).tolist())

    def fits(order: Sequence[Numbers]) -> bool:
        return ends <= set(np.cumsum([array.size for array in order]).tolist())

    if sum(array.size for array in held) != sum(sizes):
        count = sum(array.size for array in held)
        raise WeightsError(
            f"{names} has {sum(sizes)} numbers, and the package holds {count}: {_OTHER}"
        )
    orders: list[Sequence[Numbers]] = [held] if fits(held) else []
    if not orders and len(held) <= _MOST_PIECES:
        orders = [order for order in itertools.permutations(held) if fits(order)]
    if len(orders) != 1:
        raise WeightsError(
            f"{names} can't be told apart: the package holds {len(held)} constants, and "
            f"{len(orders) or 'no'} orders fit; extract them under their own names"
        )
    flat = np.concatenate([array.ravel() for array in orders[0]])
    return np.split(flat, np.cumsum(sizes)[:-1])


def _tensor(array: Numbers) -> Tensor:
    return torch.from_numpy(np.array(array, order="C"))
