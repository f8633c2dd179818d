"""Mutations of any operation, and of arithmetic on elements."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.faults.operators.site import Edit, Site, mutation
from harness.mil.editing import (
    constant,
    new_operation,
    skipped,
    with_constant,
    with_inputs,
    with_swapped,
    with_type,
)
from harness.mil.program import Operation, Variable
from harness.mil.types import TensorType

SCALE = 1.01


@mutation("result x 1.01", kind="scale")
def scaled(site: Site) -> Edit | None:
    """Multiply every result; 1 % is 40 dB, what a wrong gain that nobody hears comes to."""

    def times(renamed: Variable, result: Variable) -> Operation:
        assert isinstance(result.type, TensorType)  # checked below
        shape, dtype = result.type.shape or (), result.type.dtype
        factor = constant(np.asarray(SCALE, dtype.numpy))
        return new_operation("mul", result.name, shape, dtype, x=renamed.name, y=factor)

    types = [v.type for v in site.operation.outputs]
    if not all(isinstance(t, TensorType) and t.dtype.is_floating for t in types):
        return None
    return site.after(times)


@mutation("left out", kind="skip")
def left_out(site: Site) -> Edit | None:
    """Pass on the first operand that has the result's shape and type."""
    if len(site.operation.outputs) != 1:
        return None
    for parameter in site.operation.inputs:
        name = site.read(parameter)
        if name is not None and site.type_of(name) == site.result:
            return [skipped(site.operation, parameter)]
    return None


@mutation("operands exchanged", "sub", "real_div")
def exchanged(site: Site) -> Edit | None:
    """A difference of the other sign, a quotient upside down."""
    return [with_swapped(site.operation, "x", "y")]


@mutation("second operand subtracted", "add")
def subtracted(site: Site) -> Edit | None:
    """Exchanging the operands of a sum would be no mutation."""
    both = site.read("x") is not None and site.read("y") is not None
    return [with_type(site.operation, "sub")] if both else None


@mutation("first operand squared", "mul")
def squared(site: Site) -> Edit | None:
    """A gate or a gain that is not applied: the product of the larger operand with itself."""
    for parameter in ("x", "y"):
        name = site.read(parameter)
        if name is not None and site.type_of(name) == site.result:
            return [with_inputs(site.operation, x=name, y=name)]
    return None


@mutation("two elements of the constant exchanged", "add", "mul")
def shuffled(site: Site) -> Edit | None:
    """A permuted bias, gain or embedding; neighbours, as the likeliest to be alike."""
    for parameter in ("x", "y"):
        value = site.constant(parameter)
        if value is not None and value.size > 1:
            place = site.draw(value.size - 1)
            return [with_constant(site.model, site.operation, parameter, swap_elements(place))]
    return None


@mutation("constant x 1000", "add")
def epsilon(site: Site) -> Edit | None:
    """A scalar that is added is an epsilon."""
    value = site.constant("y")
    if value is None or value.size != 1:
        return None
    return [with_constant(site.model, site.operation, "y", lambda array: array * 1000)]


@mutation("constant x 1.0001", "mul")
def gain(site: Site) -> Edit | None:
    """A scalar gain that is off in the fourth digit."""
    value = site.constant("y")
    if value is None or value.size != 1:
        return None
    return [with_constant(site.model, site.operation, "y", lambda array: array * 1.0001)]


@mutation("absolute value in its place", "square")
def absolute(site: Site) -> Edit | None:
    """A mean of magnitudes for a mean of squares."""
    return [with_type(site.operation, "abs")]


@mutation("1e-5 moved out of the root", "sqrt")
def outside(site: Site) -> Edit | None:
    """The epsilon of a normalisation outside of the root: sqrt(x - 1e-5) + 1e-5."""
    shape = site.result.shape or ()
    less = constant(np.asarray(1e-5, site.result.dtype.numpy))
    edit = site.before("x", "sub", [n or 1 for n in shape], y=less)

    def more(renamed: Variable, result: Variable) -> Operation:
        return new_operation("add", result.name, shape, site.result.dtype, x=renamed.name, y=less)

    inner = Site(site.model, edit[-1], site.index)
    return [*edit[:-1], *inner.after(more)]


@mutation("hard sigmoid in its place", "sigmoid")
def hard(site: Site) -> Edit | None:
    """The piecewise linear one."""
    dtype = site.result.dtype.numpy
    slope, middle = (constant(np.asarray(value, dtype)) for value in (0.2, 0.5))
    return [with_inputs(with_type(site.operation, "sigmoid_hard"), alpha=slope, beta=middle)]


@mutation("divided by n - 1", "reduce_mean")
def unbiased(site: Site) -> Edit | None:
    """The unbiased mean of squares for the biased one: x n / (n - 1)."""
    name = site.read("x")
    if name is None:
        return None
    read, left = (
        math.prod(n or 1 for n in t.shape or ()) for t in (site.type_of(name), site.result)
    )
    n = read // left
    if n < 2:
        return None
    dtype = site.result.dtype
    factor = constant(np.asarray(n / (n - 1), dtype.numpy))
    return site.after(
        lambda renamed, result: new_operation(
            "mul", result.name, site.result.shape or (), dtype, x=renamed.name, y=factor
        )
    )


@mutation("one axis less: its first element stands for all", "reduce_mean")
def one_axis_less(site: Site) -> Edit | None:
    """Layer statistics for group statistics, in the shape that the program declares."""
    axes, name = site.constant("axes"), site.read("x")
    if axes is None or name is None:
        return None
    shape = [n or 1 for n in site.type_of(name).shape or ()]
    for axis in axes.reshape(-1).tolist():
        if shape[axis] > 1:
            begin = [0] * len(shape)
            end = [*shape]
            end[axis] = 1
            return site.before("x", "slice_by_index", end, begin=begin, end=end)
    return None


def swap_elements(place: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that exchanges element ``place``, counted flat, with the next."""

    def change(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(-1)
        flat[[place, place + 1]] = flat[[place + 1, place]]
        return array

    return change
