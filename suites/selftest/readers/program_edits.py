"""Packages that somebody broke on purpose, one edit after another.

Flipping bytes mostly breaks the protocol buffer. These edits keep it sound and make the program
say something else, so that they reach the planner and the operations.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.mil.ops.registry import known_types

_TYPES = list(known_types())
_INTEGERS = [0, 1, 2, 3, 5, 7, -1, -2, 100, 10**6, 2**31 - 1, -(2**31)]
_FLOATS = [0.0, -1.0, 1e30, 1e-40, np.inf, np.nan]
_STRINGS = ["", "valid", "same", "fp16", "fp32", "int32", "bool", "EXACT", "linear", "é"]
_SIZES = [0, 1, 2, 3, 6, 100, 2**33, 2**62, 2**63]
_DTYPES = [1, 2, 10, 11, 12, 21, 22, 23, 24, 31, 32, 33, 35]
_INPUTS = ["x", "y", "axis", "axes", "values", "ls", "index", "begin", "end", "shape", "pred"]


def edit_program(message: Any, chance: random.Random) -> None:
    """Edit the program in a ``Model`` message in one to three places."""
    function = message.mlProgram.functions["main"]
    blocks = list(_blocks(next(iter(function.block_specializations.values()))))
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        block = chance.choice(blocks)
        if block.operations:
            chance.choice(_EDITS)(chance.choice(block.operations), block, blocks, chance)


def _blocks(block: Any) -> Iterator[Any]:
    yield block
    for operation in block.operations:
        for nested in operation.blocks:
            yield from _blocks(nested)


def _retype(operation: Any, block: Any, blocks: Any, chance: random.Random) -> None:
    operation.type = chance.choice(_TYPES)


def _rebind(operation: Any, block: Any, blocks: Any, chance: random.Random) -> None:
    names = [o.name for b in blocks for p in b.operations for o in p.outputs]
    bindings = [b for key in sorted(operation.inputs) for b in operation.inputs[key].arguments]
    if bindings:
        chance.choice(bindings).name = chance.choice([*names, "x"])


def _redeclare(operation: Any, block: Any, blocks: Any, chance: random.Random) -> None:
    for output in operation.outputs:
        if output.type.HasField("tensorType"):
            output.type.tensorType.dataType = chance.choice(_DTYPES)
            if "val" in operation.attributes:
                held = operation.attributes["val"].type
                held.tensorType.dataType = output.type.tensorType.dataType


def _resize(operation: Any, block: Any, blocks: Any, chance: random.Random) -> None:
    types = [o.type.tensorType for o in operation.outputs if o.type.HasField("tensorType")]
    dimensions = [dimension for type_ in types for dimension in type_.dimensions]
    if dimensions and chance.random() < 0.4:
        chance.choice(dimensions).unknown.variadic = chance.random() < 0.3
    elif dimensions:
        chance.choice(dimensions).constant.size = chance.choice(_SIZES)


def _revalue(operation: Any, block: Any, blocks: Any, chance: random.Random) -> None:
    constants = [
        entry.attributes["val"].immediateValue.tensor
        for entry in block.operations
        if entry.type == "const" and entry.attributes["val"].HasField("immediateValue")
    ]
    choices = {"ints": _INTEGERS, "floats": _FLOATS, "bools": [True, False], "strings": _STRINGS}
    for tensor in constants[: chance.randrange(1, 4)]:
        kind = tensor.WhichOneof("value")
        if kind in choices and getattr(tensor, kind).values:
            values = getattr(tensor, kind).values
            values[chance.randrange(len(values))] = chance.choice(choices[kind])


def _repeat(operation: Any, block: Any, blocks: Any, chance: random.Random) -> None:
    again = block.operations.add()
    again.CopyFrom(operation)
    for output in again.outputs:
        output.name += "_again"


def _bind_another(operation: Any, block: Any, blocks: Any, chance: random.Random) -> None:
    if operation.inputs:
        given = operation.inputs[chance.choice(sorted(operation.inputs))]
        operation.inputs[chance.choice(_INPUTS)].CopyFrom(given)


def _remove(operation: Any, block: Any, blocks: Any, chance: random.Random) -> None:
    block.operations.remove(operation)


_EDITS = [
    _retype,
    _rebind,
    _rebind,
    _redeclare,
    _resize,
    _revalue,
    _revalue,
    _repeat,
    _bind_another,
    _remove,
]
