"""Rewrites of what values and constants are called, and of where constants stand."""

from __future__ import annotations

import fnmatch
from collections import Counter
from dataclasses import replace

from harness.conversion.survey import base_value
from harness.mil.editing import key
from harness.mil.program import Binding, Operation, Variable
from harness.mil.types import TensorType
from suites.selftest.structure.rewriting import (
    Draft,
    reading,
    rewrite,
)


@rewrite("values renamed")
def values_renamed(draft: Draft) -> None:
    patterns = [p for rule in draft.sidecar.recipe.rules for p in rule.names]
    kept = {variable.name for variable in draft.function.inputs} | {*draft.function.block.outputs}
    made = [v.name for o in draft.operations for v in o.outputs]
    names = {
        name: f"value_{number}"
        for number, name in enumerate(made)
        if name not in kept
        and not any(fnmatch.fnmatchcase(base_value(name), pattern) for pattern in patterns)
    }
    draft.operations = [
        replace(
            reading(operation, names),
            outputs=tuple(Variable(names.get(v.name, v.name), v.type) for v in operation.outputs),
        )
        for operation in draft.operations
    ]
    found = {
        tap: replace(location, output=names.get(location.output, location.output))
        for tap, location in draft.sidecar.taps.found.items()
    }
    draft.sidecar = replace(
        draft.sidecar,
        modules={names.get(n, n): module for n, module in draft.sidecar.modules.items()},
        taps=replace(draft.sidecar.taps, found=found),
    )


@rewrite("operations without names")
def operations_without_names(draft: Draft) -> None:
    """The attribute that names an operation, not its values, is for people."""
    draft.operations = [
        replace(o, attributes={n: held for n, held in o.attributes.items() if n != "name"})
        if len(o.outputs) == 1
        else o
        for o in draft.operations
    ]


@rewrite("constants in reverse order")
def constants_reversed(draft: Draft) -> None:
    constants = [o for o in draft.operations if o.type == "const"]
    others = [o for o in draft.operations if o.type != "const"]
    draft.operations = [*reversed(constants), *others]


@rewrite("constants where they are read")
def constants_where_read(draft: Draft) -> None:
    waiting = draft.constants
    written: list[Operation] = []
    for operation in draft.operations:
        if operation.type != "const":
            written += [waiting.pop(n) for n in operation.input_names if n in waiting]
            written.append(operation)
    draft.operations = [*written, *waiting.values()]


@rewrite("constants in place of their names")
def constants_in_place(draft: Draft) -> None:
    """Small constants stand in the operations that read them."""
    small = {
        name: o.attributes["val"]
        for name, o in draft.constants.items()
        if isinstance(o.outputs[0].type, TensorType) and o.outputs[0].type.count < 10
    }

    def bound(binding: Binding) -> Binding:
        return small.get(binding, binding) if isinstance(binding, str) else binding

    draft.operations = [
        replace(o, inputs={p: tuple(map(bound, bs)) for p, bs in o.inputs.items()})
        for o in draft.operations
        if not (o.type == "const" and key(o) in small)
    ]


@rewrite("constants repeated")
def constants_repeated(draft: Draft) -> None:
    """Every reader has a constant of its own."""
    known, seen = draft.constants, Counter[str]()
    written: list[Operation] = []
    for operation in draft.operations:
        names = {}
        for name in {*operation.input_names} & known.keys():
            seen[name] += 1
            names[name] = f"{name}_copy_{seen[name]}"
            variable = Variable(names[name], known[name].outputs[0].type)
            held = {"val": known[name].attributes["val"]}
            written.append(replace(known[name], outputs=(variable,), attributes=held))
        written.append(reading(operation, names))
    draft.operations = written


@rewrite("equal constants merged")
def constants_merged(draft: Draft) -> None:
    first: dict[object, str] = {}
    names: dict[str, str] = {}
    for name, operation in draft.constants.items():
        held = operation.attributes["val"]
        value = held.value
        if not isinstance(value, str | tuple | dict):
            value = draft.package.constants.array(held).tobytes()
        names[name] = first.setdefault((str(held.type), str(value)), name)
    draft.operations = [
        reading(o, names) for o in draft.operations if o.type != "const" or names[key(o)] == key(o)
    ]
