"""The derivative of one operation, applied from the left to the gradients of many probes at once.

PyTorch knows the derivative of every operation, from the graph that was recorded when it was
executed. Those of the most frequent ones are moves and sums, which are written out here: no graph
is walked for them, and no memory is made where a view will do. Where each element of the result
depends on one element, the derivative is a factor for each, found once for all probes. The others
are batched, but for large values, of which one at a time fits into the cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from harness.mil.plan import Source, Step

Tensor: TypeAlias = torch.Tensor
Gradients: TypeAlias = Mapping[int, Tensor]
"""For each slot the gradients of all probes, [probes, *shape of the value]."""
Leaves: TypeAlias = Mapping[int, Tensor]
"""What a step reads, by slot, as far as gradients go there."""

Values: TypeAlias = Mapping[int, Any]
_Found: TypeAlias = dict[int, Tensor] | None

# PyTorch's vmap has no rule for the gradient of its fused attention on every device.
_NOT_BATCHED = frozenset({"scaled_dot_product_attention"})
_POINTWISE = frozenset({"gelu", "sigmoid", "sqrt", "tanh", "exp", "erf", "silu"})
_LARGE = {"cpu": 1 << 19}  # elements of a value whose gradients are better pulled one by one


def pull(
    step: Step,
    leaves: Leaves,
    results: tuple[Any, ...],
    at_outputs: Gradients,
    values: Mapping[int, Any],
    *,
    keep: bool,
) -> dict[int, Tensor]:
    """Return the gradients at each leaf that the outputs depend on.

    Args:
        step: as planned.
        leaves: what it read.
        results: what it made of them, with PyTorch's graph.
        at_outputs: gradients at its outputs.
        values: what every slot holds that it reads.
        keep: whether the graph is needed again.
    """
    made = [
        (result, at_outputs[slot])
        for slot, result in zip(step.outputs, results, strict=True)
        if slot in at_outputs and result.requires_grad
    ]
    if not made:
        return {}
    written_out = _WRITTEN_OUT.get(step.operation.type)
    found = None
    if written_out is not None:
        found = written_out(step, leaves, made[0][1], values)
    elif step.operation.type == "split":
        found = _put_together(step, leaves, results, at_outputs)
    if found is not None:
        return found
    outputs, gradients = zip(*made, strict=True)
    if step.operation.type in _POINTWISE:
        return _multiplied_by_factors(leaves, outputs[0], gradients[0], keep)
    largest = max(output.numel() for output in outputs)
    single = step.operation.type in _NOT_BATCHED or largest >= _LARGE.get(
        outputs[0].device.type, math.inf
    )
    tensors = list(leaves.values())
    if single:
        pulled = one_by_one(outputs, tensors, gradients, keep)
    else:
        pulled = torch.autograd.grad(
            outputs, tensors, gradients, retain_graph=keep, allow_unused=True, is_grads_batched=True
        )
    return {slot: g for slot, g in zip(leaves, pulled, strict=True) if g is not None}


def one_by_one(
    results: Sequence[Tensor], leaves: Sequence[Tensor], gradients: Sequence[Any], keep: bool
) -> Sequence[Tensor | None]:
    """Return what `pull` does at ``leaves``, by a walk for each probe; ``gradients`` by result."""
    rows = [
        torch.autograd.grad(
            results,
            leaves,
            row,
            retain_graph=keep or number + 1 < len(gradients[0]),
            allow_unused=True,
        )
        for number, row in enumerate(zip(*gradients, strict=True))
    ]
    columns = zip(*rows, strict=True)
    return [None if column[0] is None else torch.stack(column) for column in columns]


def _multiplied_by_factors(
    leaves: Leaves, result: Tensor, gradient: Tensor, keep: bool
) -> dict[int, Tensor]:
    ((slot, leaf),) = leaves.items()
    ones = torch.ones_like(result)
    (factor,) = torch.autograd.grad(result, leaf, ones, retain_graph=keep)
    return {slot: gradient * factor}


def _put_together(
    step: Step, leaves: Leaves, results: tuple[Tensor, ...], at_outputs: Gradients
) -> _Found:
    """Return the gradient at what a split has cut; parts without one count as zeros."""
    ((slot, leaf),) = leaves.items()
    axis = step.literal("axis")
    if axis is None:
        return None
    like = next(iter(at_outputs.values()))
    parts = [
        at_outputs[part] if part in at_outputs else like.new_zeros(len(like), *result.shape)
        for part, result in zip(step.outputs, results, strict=True)
    ]
    return {slot: torch.cat(parts, axis % leaf.ndim + 1)}


def _reshaped(step: Step, leaves: Leaves, gradient: Tensor, values: Values) -> _Found:
    ((slot, leaf),) = leaves.items()
    return {slot: gradient.reshape(len(gradient), *leaf.shape)}


def _transposed(step: Step, leaves: Leaves, gradient: Tensor, values: Values) -> _Found:
    perm = step.literal("perm")
    if perm is None:
        return None
    ((slot, leaf),) = leaves.items()
    inverse = sorted(range(leaf.ndim), key=lambda axis: perm[axis] % leaf.ndim)
    return {slot: gradient.permute(0, *(axis + 1 for axis in inverse))}


def _averaged(step: Step, leaves: Leaves, gradient: Tensor, values: Values) -> _Found:
    ((slot, leaf),) = leaves.items()
    axes = step.literal("axes")
    if axes is None:
        return None
    gone = {axis % leaf.ndim for axis in axes}
    kept = [1 if axis in gone else size for axis, size in enumerate(leaf.shape)]
    part = gradient.reshape(len(gradient), *kept) / math.prod(leaf.shape[axis] for axis in gone)
    return {slot: part.expand(len(gradient), *leaf.shape)}


def _added(step: Step, leaves: Leaves, gradient: Tensor, values: Values) -> _Found:
    slots = _operands(step)
    if slots is None:
        return None
    found = {}
    for name, slot in slots.items():
        if slot in leaves:
            part = _summed(gradient, leaves[slot].shape)
            found[slot] = -part if name == "y" and step.operation.type == "sub" else part
    return found


def _multiplied(step: Step, leaves: Leaves, gradient: Tensor, values: Values) -> _Found:
    slots = _operands(step)
    if slots is None:
        return None
    pairs = ((slots["x"], slots["y"]), (slots["y"], slots["x"]))
    return {
        slot: _contracted(gradient, values[other], leaves[slot].shape)
        for slot, other in pairs
        if slot in leaves
    }


def _divided(step: Step, leaves: Leaves, gradient: Tensor, values: Values) -> _Found:
    slots = _operands(step)
    if slots is None:
        return None
    above, below = (values[slots[name]] for name in ("x", "y"))
    found = {}
    if slots["x"] in leaves:
        found[slots["x"]] = _summed(gradient / below, above.shape)
    if slots["y"] in leaves:
        found[slots["y"]] = -_contracted(gradient, above / below / below, below.shape)
    return found


def _squared(step: Step, leaves: Leaves, gradient: Tensor, values: Values) -> _Found:
    ((slot, leaf),) = leaves.items()
    return {slot: gradient * (2 * leaf.detach())}


def _projected(step: Step, leaves: Leaves, gradient: Tensor, values: Values) -> _Found:
    slots = {a.name: a.payload for a in step.arguments if a.source is Source.SLOT}
    if list(leaves) != [slots.get("x")] or list(step.reads).count(slots["x"]) != 1:
        return None
    weight = values[slots["weight"]]
    return {slots["x"]: gradient @ weight.to(gradient.dtype)}


def _operands(step: Step) -> dict[str, int] | None:
    """Return the slots of ``x`` and ``y``; ``None`` where they are one, or no tensors."""
    slots = {a.name: a.payload for a in step.arguments if a.source is Source.SLOT}
    return slots if len({slots.get("x"), slots.get("y"), None}) == 3 else None


def _summed(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Return ``gradient`` [probes, *result] summed to [probes, *shape], that was broadcast."""
    ones = [1] * (gradient.ndim - 1 - len(shape))
    whole = gradient.sum_to_size(len(gradient), *ones, *shape)
    return whole.reshape(len(gradient), *shape)


def _contracted(gradient: Tensor, factor: Tensor, shape: torch.Size) -> Tensor:
    """Return ``gradient * factor`` summed to [probes, *shape], by matrix products where it can be.

    It can where ``shape`` begins as the result does and goes on with ones, such as a deviation for
    each row, and less is left than was there.
    """
    result = gradient.shape[1:]
    padded = (*[1] * (len(result) - len(shape)), *shape)
    same = next((i for i, (a, b) in enumerate(zip(padded, result, strict=True)) if a != b), None)
    if same is None or any(size != 1 for size in padded[same:]):
        return _summed(gradient * factor, shape)
    rows = math.prod(result[:same])
    left = gradient.reshape(len(gradient), rows, -1).transpose(0, 1)
    right = factor.expand(result).reshape(rows, -1, 1)
    return torch.bmm(left, right)[:, :, 0].t().reshape(len(gradient), *shape)


_WRITTEN_OUT: Mapping[str, Callable[[Step, Leaves, Tensor, Values], _Found]] = {
    "reshape": _reshaped,
    "expand_dims": _reshaped,
    "squeeze": _reshaped,
    "transpose": _transposed,
    "reduce_mean": _averaged,
    "add": _added,
    "sub": _added,
    "mul": _multiplied,
    "real_div": _divided,
    "square": _squared,
    "linear": _projected,
}
"""By type; ``None`` from one of them leaves the step to PyTorch."""
