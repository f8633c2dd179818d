"""Branches, loops, lists of tensors, and states.

Source: ``converters/mil/mil/ops/defs/iOS15/{control_flow,classify}.py``,
``ops/defs/iOS18/states.py`` and, for how states are written,
``converters/mil/backend/mil/load.py`` of coremltools.
"""

from __future__ import annotations

import torch

from harness.mil.ops.registry import (
    Blocks,
    Context,
    Effect,
    Ints,
    Labels,
    Tensor,
    Values,
    operation,
)
from harness.mil.values import Label, StateCell, TensorList


@operation("cond", effect=Effect.ALIAS)
def cond(blocks: Blocks, pred: bool) -> Values:
    """The values of the first block if ``pred`` is true, else of the second."""
    then, otherwise = blocks
    return then() if pred else otherwise()


@operation("while_loop", effect=Effect.ALIAS)
def while_loop(blocks: Blocks, loop_vars: Values) -> Values:
    """``loop_vars`` after the second block was applied as long as the first says true of them."""
    test, body = blocks
    while bool(test(*loop_vars)[0]):
        loop_vars = body(*loop_vars)
    return loop_vars


@operation("make_list", effect=Effect.ALIAS)
def make_list(
    context: Context,
    elem_shape: Labels,
    init_length: int = 1,
    dynamic_length: bool = True,
    dtype: str = "fp32",
) -> TensorList:
    """A list of ``init_length`` elements, all zeros; a name in their shape is a size to be found.

    The type of the elements is part of the declared type of the result.
    """
    if init_length < 0:
        raise ValueError(f"a list can't have {init_length} elements")
    sizes = [size for size in elem_shape if isinstance(size, int)]
    zero = torch.zeros((), dtype=context.carrier, device=context.device)
    known = len(sizes) == len(elem_shape)
    return TensorList(init_length, dynamic_length, {}, zero.expand(sizes) if known else None)


@operation("list_length", effect=Effect.MOVE)
def list_length(context: Context, ls: TensorList) -> Tensor:
    """How many elements ``ls`` has, written or not."""
    return torch.tensor(ls.length, dtype=context.carrier, device=context.device)


@operation("list_read", effect=Effect.ALIAS)
def list_read(ls: TensorList, index: int) -> Tensor:
    """The element of ``ls`` at ``index``."""
    return ls.read(index)


@operation("list_write", effect=Effect.ALIAS)
def list_write(ls: TensorList, index: int, value: Tensor) -> TensorList:
    """``ls`` with ``value`` at ``index``; a list of dynamic length grows as far as needed."""
    return ls.written({index: value})


@operation("list_gather", effect=Effect.MOVE)
def list_gather(ls: TensorList, indices: Ints) -> Tensor:
    """The elements of ``ls`` at ``indices``, stacked along a new first axis."""
    return torch.stack([ls.read(index) for index in indices])


@operation("list_scatter", effect=Effect.ALIAS)
def list_scatter(ls: TensorList, indices: Ints, value: Tensor) -> TensorList:
    """``ls`` with the slices of ``value`` along its first axis written at ``indices``."""
    if len(indices) != len(value):
        raise ValueError(f"{len(value)} values can't be written at {len(indices)} indices")
    return ls.written(dict(zip(indices, value, strict=True)))


@operation("read_state", effect=Effect.ALIAS)
def read_state(input: StateCell) -> Tensor:
    """What the state holds."""
    return input.value


@operation("write_state", effect=Effect.WRITE)
def write_state(input: StateCell, data: Tensor) -> tuple[()]:
    """Let the state hold ``data`` from now on."""
    if data.shape != input.value.shape:
        raise ValueError(
            f"a state of shape {list(input.value.shape)} can't hold {list(data.shape)}"
        )
    input.value = data
    return ()


@operation("classify", effect=Effect.MOVE)
def classify(
    context: Context, probabilities: Tensor, classes: Labels
) -> tuple[Tensor | str, dict[Label, float]]:
    """The most probable class, and each class with its probability."""
    values = probabilities.detach().flatten().tolist()
    if len(values) != len(classes) or not values:
        raise ValueError(f"{len(values)} probabilities for {len(classes)} classes")
    best = classes[values.index(max(values))]
    label = best if isinstance(best, str) else torch.tensor(best, device=context.device)
    return label, dict(zip(classes, values, strict=True))
