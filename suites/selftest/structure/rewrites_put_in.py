"""Rewrites that put something in that computes nothing, or the same once more."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from harness.mil import DataType
from harness.mil.editing import constant, key
from harness.mil.program import Operation, Variable
from suites.selftest.structure.rewriting import (
    Draft,
    fp32_operation,
    put_in,
    reading,
    reshape,
    rewrite,
    shape_of,
)


@rewrite("identities put in")
def identities(draft: Draft) -> None:
    put_in(draft, lambda x, name, shape: fp32_operation("identity", name, shape, x=x))


@rewrite("reshapes to the same shape")
def reshapes(draft: Draft) -> None:
    put_in(draft, reshape)


@rewrite("transposes that keep the order")
def transposes(draft: Draft) -> None:
    put_in(
        draft,
        lambda x, name, shape: fp32_operation(
            "transpose", name, shape, x=x, perm=[*range(len(shape))]
        ),
    )


@rewrite("casts to the same type")
def casts(draft: Draft) -> None:
    def step(x: str, name: str, shape: list[int]) -> Operation:
        return fp32_operation("cast", name, shape, x=x, dtype=constant("fp32"))

    put_in(draft, step, step)


@rewrite("multiplications by one")
def times_one(draft: Draft) -> None:
    put_in(draft, lambda x, name, shape: fp32_operation("mul", name, shape, x=x, y=1.0))


@rewrite("additions of zero")
def plus_zero(draft: Draft) -> None:
    put_in(draft, lambda x, name, shape: fp32_operation("add", name, shape, x=constant(0.0), y=x))


@rewrite("divisions by one, subtractions of zero")
def over_one(draft: Draft) -> None:
    put_in(
        draft,
        lambda x, name, shape: fp32_operation("real_div", name, shape, x=x, y=1.0),
        lambda x, name, shape: fp32_operation("sub", name, shape, x=x, y=0.0),
    )


@rewrite("pads by nothing")
def pads(draft: Draft) -> None:
    put_in(
        draft,
        lambda x, name, shape: fp32_operation("pad", name, shape, x=x, pad=[0] * 2 * len(shape)),
    )


@rewrite("concatenations of one")
def concatenations(draft: Draft) -> None:
    def step(x: str, name: str, shape: list[int]) -> Operation:
        made = fp32_operation("concat", name, shape, axis=np.int32(0), interleave=np.bool_(False))
        return replace(made, inputs={**made.inputs, "values": (x,)})

    put_in(draft, step)


@rewrite("slices of everything")
def slices(draft: Draft) -> None:
    def step(x: str, name: str, shape: list[int]) -> Operation:
        return fp32_operation("slice_by_index", name, shape, x=x, begin=[0] * len(shape), end=shape)

    put_in(draft, step)


@rewrite("transposed there and back")
def transpose_pairs(draft: Draft) -> None:
    put_in(
        draft,
        lambda x, name, shape: fp32_operation(
            "transpose", name, shape[::-1], x=x, perm=[*range(len(shape))][::-1]
        ),
        lambda x, name, shape: fp32_operation(
            "transpose", name, shape, x=x, perm=[*range(len(shape))][::-1]
        ),
        rank=2,
    )


@rewrite("reshaped there and back")
def reshape_pairs(draft: Draft) -> None:
    def flat(x: str, name: str, shape: list[int]) -> Operation:
        return fp32_operation("reshape", name, [int(np.prod(shape))], x=x, shape=[-1])

    put_in(draft, flat, reshape, rank=2)


@rewrite("one dimension of a reshape left to be inferred")
def inferred(draft: Draft) -> None:
    known = draft.constants
    written = []
    for operation in draft.operations:
        if operation.type == "reshape":
            assert {*operation.input_names} & known.keys()
            shape = [-1, *shape_of(operation)[1:]]
            operation = replace(operation, inputs={**operation.inputs, "shape": (constant(shape),)})
        written.append(operation)
    draft.operations = written


@rewrite("outputs behind identities")
def output_identities(draft: Draft) -> None:
    names = {name: f"{name}_made" for name in draft.function.block.outputs}
    written = []
    for operation in draft.operations:
        (first, *_) = operation.outputs
        if first.name in names:
            made = Variable(names[first.name], first.type)
            written.append(replace(reading(operation, names), outputs=(made,)))
            shape = shape_of(operation)
            written.append(fp32_operation("identity", first.name, shape, x=made.name))
        else:
            written.append(reading(operation, names))
    draft.operations = written
    modules = dict(draft.sidecar.modules)
    modules |= {made: modules[name] for name, made in names.items() if name in modules}
    draft.sidecar = replace(draft.sidecar, modules=modules)


@rewrite("operations that nobody reads")
def dead_operations(draft: Draft) -> None:
    modules = dict(draft.sidecar.modules)
    unread = []
    for operation in draft.places():
        name = f"{key(operation)}_unread"
        unread.append(fp32_operation("square", name, shape_of(operation), x=key(operation)))
        modules[name] = modules[key(operation)]
    draft.operations = [*draft.operations, *unread]
    draft.sidecar = replace(draft.sidecar, modules=modules)


@rewrite("one result computed twice")
def computed_twice(draft: Draft) -> None:
    """Where a value has several readers, the last one gets a copy of its own."""
    readers = Counter(name for o in draft.operations for name in {*o.input_names})
    twice = {key(o): o for o in draft.operations if _repeats(o) and readers[key(o)] > 1}
    seen, modules = Counter[str](), dict(draft.sidecar.modules)
    written: list[Operation] = []
    for operation in draft.operations:
        names = {}
        for name in {*operation.input_names} & twice.keys():
            seen[name] += 1
            if seen[name] == readers[name]:
                names[name] = f"{name}_twice"
                variable = Variable(names[name], twice[name].outputs[0].type)
                written.append(
                    replace(twice[name], outputs=(variable,), attributes={}, name=names[name])
                )
                if name in modules:
                    modules[names[name]] = modules[name]
        written.append(reading(operation, names))
    draft.operations = written
    draft.sidecar = replace(draft.sidecar, modules=modules)


def _repeats(operation: Operation) -> bool:
    cheap = ("reduce_mean", "sub", "sigmoid", "reshape")
    return (
        operation.type in cheap
        and len(operation.outputs) == 1
        and operation.dtype is DataType.FLOAT32
    )
