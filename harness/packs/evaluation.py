"""What a problem's answer is: outputs, and gradients against a cotangent, in one precision.

In float64 it makes the goldens. In float32 it is what an honest implementation reaches, which is
how the bounds of a pack are shown to be fair.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from harness.packs.manifest import PackError
from harness.packs.problems import Array, Draw, Problem


def answers(
    problem: Problem, seed: int, *, differentiable: bool, dtype: torch.dtype = torch.float64
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the cotangents and the answers of a problem, cast once to float32.

    The loss whose gradients are taken is the sum over all outputs of output times cotangent. (The
    sum of the outputs alone has a gradient of zero behind every softmax and normalisation, so that
    a wrong one would pass.)

    Args:
        problem: the question.
        seed: of the cotangents.
        differentiable: whether gradients are wanted.
        dtype: in which it is computed.

    Returns:
        ``cotangent/NAME``, and ``out/NAME``, ``grad/in/NAME``, ``grad/param/NAME``.

    Raises:
        PackError: a value is NaN, infinite, or too large for float32.
    """
    inputs = {name: _leaf(array, dtype) for name, array in problem.inputs.items()}
    parameters = {name: _leaf(array, dtype) for name, array in problem.parameters.items()}
    with torch.set_grad_enabled(differentiable):
        found = problem.compute(*inputs.values(), **parameters, **problem.attributes)
    outputs = {"y": found} if isinstance(found, torch.Tensor) else dict(found)
    draw = Draw(seed)
    cotangents: dict[str, Array] = {}
    if differentiable:
        cotangents = {
            name: draw(*output.shape) for name, output in outputs.items() if output.requires_grad
        }
    answered = {f"out/{name}": _cast(output, problem.name) for name, output in outputs.items()}
    if cotangents:
        answered |= _gradients(problem, {"in": inputs, "param": parameters}, outputs, cotangents)
    return {f"cotangent/{name}": array for name, array in cotangents.items()}, answered


def _gradients(
    problem: Problem,
    leaves: Mapping[str, Mapping[str, torch.Tensor]],
    outputs: Mapping[str, torch.Tensor],
    cotangents: Mapping[str, Array],
) -> dict[str, Array]:
    named = {
        f"grad/{kind}/{name}": leaf
        for kind, group in leaves.items()
        for name, leaf in group.items()
        if leaf.requires_grad
    }
    loss = sum(
        (outputs[name] * torch.from_numpy(array).to(outputs[name].dtype)).sum()
        for name, array in cotangents.items()
    )
    gradients = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)  # type: ignore[arg-type]
    return {
        name: _cast(gradient, problem.name) for name, gradient in zip(named, gradients, strict=True)
    }


def _leaf(array: Array, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    if not tensor.dtype.is_floating_point:
        return tensor.long()
    return tensor.to(dtype, copy=True).requires_grad_()


def _cast(tensor: torch.Tensor, name: str) -> Array:
    wide = tensor.detach().numpy()
    if wide.dtype.kind in "iu":
        return np.array(wide, np.int32, order="C")
    with np.errstate(over="ignore"):
        cast = np.array(wide, np.float32, order="C")  # safetensors writes memory as it lies
    if not np.isfinite(cast).all():
        raise PackError(f"case {name!r} has a value that float32 can't hold; choose other numbers")
    return cast
