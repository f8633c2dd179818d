"""Operators for any operation, and for arithmetic on elements."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from harness.faults.operators.site import Edit, MutationSite, operator
from harness.mil.editing import constant, skipped, with_inputs, with_swapped, with_type
from harness.mil.types import TensorType

SCALE = 1.01
"""1 % is 40 dB: what a wrong gain that nobody hears comes to."""


@operator("result x 1.01", kind="scale")
def scaled(site: MutationSite) -> Edit | None:
    """Multiply every result."""
    types = [v.type for v in site.operation.outputs]
    if not all(isinstance(t, TensorType) and t.dtype.is_floating for t in types):
        return None
    return site.followed("mul", y=SCALE)


@operator("left out", kind="skip")
def left_out(site: MutationSite) -> Edit | None:
    """Pass on an operand that has the result's shape and type."""
    if len(site.operation.outputs) != 1:
        return None
    # A package gives inputs in any order; the last by name is y of two, and value of an attention.
    for parameter in sorted(site.operation.inputs, reverse=True):
        name = site.read(parameter)
        if name is not None and site.type_of(name) == site.result:
            return [skipped(site.operation, parameter)]
    return None


@operator("operands exchanged", "sub", "real_div")
def exchanged(site: MutationSite) -> Edit | None:
    """A difference of the other sign, a quotient upside down."""
    return [with_swapped(site.operation, "x", "y")]


@operator("second operand subtracted", "add")
def subtracted(site: MutationSite) -> Edit | None:
    """Exchanging the operands of a sum would be no mutation."""
    both = site.read("x") is not None and site.read("y") is not None
    return [with_type(site.operation, "sub")] if both else None


@operator("first operand squared", "mul")
def squared(site: MutationSite) -> Edit | None:
    """A gate or a gain that is not applied: the product of the larger operand with itself."""
    for parameter in ("x", "y"):
        name = site.read(parameter)
        if name is not None and site.type_of(name) == site.result:
            return [with_inputs(site.operation, x=name, y=name)]
    return None


@operator("two elements of the constant exchanged", "add", "mul")
def shuffled(site: MutationSite) -> Edit | None:
    """A permuted bias, gain or embedding; neighbours, as the likeliest to be alike."""
    edits = (site.changed(parameter, swapped(site), least=2) for parameter in ("x", "y"))
    return next((edit for edit in edits if edit is not None), None)


@operator("constant x 1000", "add")
def epsilon(site: MutationSite) -> Edit | None:
    """A scalar that is added is an epsilon."""
    return scalar_times(site, "y", 1000)


@operator("constant x 1.0001", "mul")
def gain(site: MutationSite) -> Edit | None:
    """A scalar gain that is off in the fourth digit."""
    return scalar_times(site, "y", 1.0001)


@operator("absolute value in its place", "square")
def absolute(site: MutationSite) -> Edit | None:
    """A mean of magnitudes for a mean of squares."""
    return [with_type(site.operation, "abs")]


@operator("1e-5 moved out of the root", "sqrt")
def outside(site: MutationSite) -> Edit | None:
    """The epsilon of a normalisation outside of the root: sqrt(x - 1e-5) + 1e-5."""
    edit = site.before("x", "sub", site.shape, y=constant(1e-5, site.result.dtype))
    return [*edit[:-1], *replace(site, operation=edit[-1]).followed("add", y=1e-5)]


@operator("hard sigmoid in its place", "sigmoid")
def hard(site: MutationSite) -> Edit | None:
    """The piecewise linear one."""
    slope, middle = (constant(value, site.result.dtype) for value in (0.2, 0.5))
    return [with_inputs(with_type(site.operation, "sigmoid_hard"), alpha=slope, beta=middle)]


@operator("divided by n - 1", "reduce_mean")
def unbiased(site: MutationSite) -> Edit | None:
    """The unbiased mean of squares for the biased one: x n / (n - 1)."""
    n = math.prod(site.shape_of("x")) // math.prod(site.shape)
    return site.followed("mul", y=n / (n - 1)) if n >= 2 else None


@operator("one axis less: its first element stands for all", "reduce_mean")
def one_axis_less(site: MutationSite) -> Edit | None:
    """Layer statistics for group statistics, in the shape that the program declares."""
    axes, shape = site.constant("axes"), site.shape_of("x")
    if axes is None or not shape:
        return None
    for axis in axes.reshape(-1).tolist():
        if shape[axis] > 1:
            end = [*shape]
            end[axis] = 1
            return site.before("x", "slice_by_index", end, begin=[0] * len(shape), end=end)
    return None


def scalar_times(site: MutationSite, parameter: str, factor: float) -> Edit | None:
    """Multiply a constant of one element."""
    value = site.constant(parameter)
    if value is None or value.size != 1:
        return None
    return site.changed(parameter, lambda array: array * factor)


def swapped(site: MutationSite, *, rows: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that exchanges two neighbours, drawn for the operation.

    They are elements, or rows: what an array has along its first axis.
    """

    def change(array: np.ndarray) -> np.ndarray:
        parts = array if rows else array.reshape(-1)
        place = site.draw(len(parts) - 1)
        parts[[place, place + 1]] = parts[[place + 1, place]]
        return array

    return change
