"""The compressed weights of a package: the numbers they stand for, and whether those are right.

``int8`` is held to the number: what coremltools makes of the expected tensor is what must be there.
A palette is held to what k-means leaves behind wherever it started from: every number is the entry
nearest to the expected one, and every entry the mean of what it stands for, both but for the
rounding of the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from harness.conversion.compression import channel_axis, compress, storage_of
from harness.mil import DataType, get_numerics
from harness.mil.executor import Executable
from harness.mil.package import Package
from harness.mil.planning import build_plan
from harness.mil.program import Function, Operation

Numbers = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class PackedWeight:
    """A constant that is stored compressed.

    Attributes:
        array: what it stands for, in its declared type.
        storage: how it is stored: as recipes call it, or in words.
    """

    array: Numbers
    storage: str


def packed_weights(package: Package, function: Function) -> Mapping[str, PackedWeight]:
    """Return what each ``constexpr`` operation of ``function`` makes, by the name of its value."""
    if not any(op.type.startswith("constexpr_") for op in function.block.operations):
        return {}
    read = package.constants.array
    plan = build_plan(function, read)
    executable = Executable.of(plan, get_numerics("storage"), torch.device("cpu"), read)
    found: dict[str, PackedWeight] = {}
    for step in plan.expansions:
        operation = step.operation
        array = executable.constants[step.outputs[0]].numpy()
        if operation.dtype is DataType.FLOAT16:
            array = array.astype(np.float16)
        found[operation.outputs[0].name] = PackedWeight(array, storage_of(operation, read))
    return found


def equal_packed(
    expected: Numbers, packed: PackedWeight, reader: Operation
) -> npt.NDArray[np.bool_]:
    """Return where ``packed`` stands for ``expected``, flat.

    Args:
        expected: float32 numbers of the model, flat.
        packed: a constant of as many numbers.
        reader: the operation that reads it.
    """
    array = packed.array
    rounded = expected.astype(array.dtype).reshape(array.shape)
    if packed.storage == "int8":
        return np.asarray(compress(rounded, "int8", channel_axis(reader)) == array).ravel()
    if packed.storage.startswith("palette"):
        return _is_clustered(rounded.ravel().astype(np.float64), array.ravel().astype(np.float64))
    return np.zeros(array.size, bool)


def _is_clustered(
    expected: npt.NDArray[np.float64], actual: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    table, entry = np.unique(actual, return_inverse=True)
    slack = np.spacing(np.abs(table).astype(np.float16)).astype(np.float64)
    means = np.bincount(entry, expected) / np.bincount(entry)
    above = np.searchsorted(table, expected).clip(1, max(len(table) - 1, 1))
    nearest = np.minimum(
        np.abs(expected - table[above - 1]),
        np.abs(expected - table[above.clip(max=len(table) - 1)]),
    )
    is_nearest = np.abs(expected - actual) <= nearest + slack[entry]
    return np.asarray(is_nearest & (np.abs(means - table) <= slack)[entry])
