"""Operators for what only moves values: order, shape, slices, splits, padding.

All of them keep the declared shape: a wrong shape is refused by any engine, a wrong order is not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.faults.operators.site import Edit, MutationSite, operator
from harness.mil.editing import constant, with_inputs, with_type


@operator("values in the order of the input", "transpose")
def not_transposed(site: MutationSite) -> Edit | None:
    """A transpose that only renames the axes: the bytes stay where they are."""
    if site.read("x") is None or site.result.shape is None:
        return None
    return [with_inputs(with_type(site.operation, "reshape"), perm=None, shape=site.shape)]


@operator("last two axes exchanged first", "reshape")
def transposed_first(site: MutationSite) -> Edit | None:
    """A reshape of values that lie in another order."""
    shape = site.shape_of("x")
    long = [axis for axis, size in enumerate(shape) if size > 1]
    if len(long) < 2:
        return None
    perm = list(range(len(shape)))
    a, b = long[-2:]
    perm[a], perm[b] = b, a
    return site.before("x", "transpose", [shape[axis] for axis in perm], perm=perm)


@operator("last axis reversed", "expand_dims", "squeeze")
def reversed_first(site: MutationSite) -> Edit | None:
    """What only adds or removes an axis of length one has nothing else to get wrong."""
    shape = site.shape_of("x")
    long = [axis for axis, size in enumerate(shape) if size > 1]
    return site.before("x", "reverse", shape, axes=long[-1:]) if long else None


@operator("parts exchanged", "split")
def exchanged(site: MutationSite) -> Edit | None:
    """The gate of a gated linear unit instead of its value."""
    outputs = site.operation.outputs
    if len({str(variable.type) for variable in outputs}) != 1 or len(outputs) < 2:
        return None
    return [replace(site.operation, outputs=outputs[::-1])]


@operator("window shifted by one", "slice_by_index")
def shifted(site: MutationSite) -> Edit | None:
    """The same length, one element later, or earlier where there is no later one."""
    shape, begin, end = site.shape_of("x"), site.constant("begin"), site.constant("end")
    if not shape or begin is None or end is None:
        return None
    starts, stops = begin.reshape(-1).tolist(), end.reshape(-1).tolist()
    for axis, size in enumerate(shape):
        whole = starts[axis] == 0 and stops[axis] >= size
        if whole or _mask(site, "begin_mask", axis) or _mask(site, "end_mask", axis):
            continue
        step = 1 if stops[axis] < size else -1
        starts[axis] += step
        stops[axis] += step
        return [with_inputs(site.operation, begin=starts, end=stops)]
    return None


@operator("padding on the other side", "pad")
def other_side(site: MutationSite) -> Edit | None:
    """Before and after exchanged."""
    amounts = site.constant("pad")
    if amounts is None:
        return None
    exchanged = amounts.reshape(-1, 2)[:, ::-1].reshape(-1)
    if np.array_equal(exchanged, amounts.reshape(-1)):
        return None
    return [with_inputs(site.operation, pad=exchanged)]


@operator("border repeated", "pad")
def replicated(site: MutationSite) -> Edit | None:
    """The last value instead of zeros."""
    if site.constant("pad") is None:
        return None
    return [with_inputs(site.operation, mode=constant("replicate"))]


def _mask(site: MutationSite, parameter: str, axis: int) -> bool:
    mask = site.constant(parameter)
    return mask is not None and bool(mask.reshape(-1)[axis])
