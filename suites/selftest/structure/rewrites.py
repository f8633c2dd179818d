"""Harmless rewrites of a package: what another converter or tool may write that computes the same.

``REWRITES`` maps the name of each to a function that reads the package at one path and writes
another at the second. The rewritten package keeps the model contract, and papers that are right:
a value that is renamed is renamed in the sidecar, and one that is new has the module of what it was
made from. Values that the package's own recipe names keep their names, because such a recipe is a
claim about names. What is put in is put in where values are FP32.
"""

from __future__ import annotations

import fnmatch
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from harness._coremltools import import_coremltools
from harness.conversion import Sidecar, read_sidecar
from harness.conversion.survey import base_value
from harness.mil import DataType
from harness.mil.blob import HEADER, METADATA
from harness.mil.editing import constant, key, new_operation, with_inputs
from harness.mil.ops.registry import definition
from harness.mil.package import Package, open_package
from harness.mil.program import Binding, Constant, Function, Operation, Variable, verify
from harness.mil.saving import save_package
from harness.mil.types import TensorType
from harness.structure.terms import COMMUTATIVE

Rewrite: TypeAlias = Callable[[Path, Path], None]
_Change: TypeAlias = Callable[["Draft"], None]
REWRITES: Final[dict[str, Rewrite]] = {}
PLACES: Final = 12
"""Where something is put in: at so many operations, spread over the program."""


class Draft:
    """A package that is being rewritten; a change assigns to its attributes."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.function: Function = package.program.function("main")
        sidecar = read_sidecar(package)
        assert sidecar is not None, "rewrites are of packages with papers"
        self.sidecar: Sidecar = sidecar
        self.metadata = dict(package.metadata)

    @property
    def operations(self) -> list[Operation]:
        return list(self.function.block.operations)

    @operations.setter
    def operations(self, operations: Iterable[Operation]) -> None:
        block = replace(self.function.block, operations=tuple(operations))
        self.function = replace(self.function, block=block)

    @property
    def constants(self) -> dict[str, Operation]:
        return {key(o): o for o in self.operations if o.type == "const"}

    def places(self, rank: int = 1) -> list[Operation]:
        """Operations behind which something can be put in: FP32, one result, a known module."""
        found = [
            operation
            for operation in self.operations
            if operation.type != "const"
            and len(operation.outputs) == 1
            and operation.dtype is DataType.FLOAT32
            and len(shape_of(operation)) >= rank
            and key(operation) in self.sidecar.modules
            and key(operation) not in self.function.block.outputs
        ]
        return found[:: max(1, len(found) // PLACES)][:PLACES]

    def behind(self, chains: Mapping[str, Sequence[Operation]]) -> None:
        """Put operations behind others; whoever read the value reads the last of them."""
        names = {name: key(chain[-1]) for name, chain in chains.items()}
        modules = dict(self.sidecar.modules)
        written: list[Operation] = []
        for operation in self.operations:
            written.append(reading(operation, names))
            for new in chains.get(key(operation) if operation.outputs else "", ()):
                written.append(new)
                modules[key(new)] = modules[key(operation)]
        self.operations = written
        self.sidecar = replace(self.sidecar, modules=modules)

    def save(self, path: Path) -> None:
        verify(self.function)
        metadata = {**self.metadata, **self.sidecar.to_metadata()}
        save_package(path, self.function, self.package.constants.array, metadata)


def rewrite(name: str) -> Callable[[_Change], _Change]:
    """Register a change of a draft as a rewrite."""

    def register(change: _Change) -> _Change:
        def apply(source: Path, target: Path) -> None:
            draft = Draft(open_package(source))
            change(draft)
            draft.save(target)

        REWRITES[name] = apply
        return change

    return register


def shape_of(operation: Operation) -> list[int]:
    declared = operation.outputs[0].type
    if not isinstance(declared, TensorType) or not declared.is_static:
        return []
    return [size or 0 for size in declared.shape or ()]


def reading(operation: Operation, names: Mapping[str, str]) -> Operation:
    """Return ``operation`` reading other names."""
    inputs = {
        parameter: tuple(names.get(b, b) if isinstance(b, str) else b for b in bindings)
        for parameter, bindings in operation.inputs.items()
    }
    return replace(operation, inputs=inputs)


def _put_in(
    draft: Draft, *steps: Callable[[str, str, list[int]], Operation], rank: int = 1
) -> None:
    """Put a chain of operations behind every place; a step gets source, name and shape."""
    chains = {}
    for operation in draft.places(rank):
        chain: list[Operation] = []
        source = key(operation)
        for number, step in enumerate(steps):
            name = f"{key(operation)}_again_{number}"
            chain.append(step(source, name, shape_of(operation)))
            source = name
        chains[key(operation)] = chain
    draft.behind(chains)


def _new(type: str, name: str, to: Sequence[int], **inputs: Any) -> Operation:
    """Return an FP32 operation whose result has the shape ``to``."""
    bare = new_operation(type, name, to, DataType.FLOAT32)
    return with_inputs(bare, **inputs)


def _reshape(x: str, name: str, shape: list[int]) -> Operation:
    return _new("reshape", name, shape, x=x, shape=shape)


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


@rewrite("independent operations in another order")
def another_order(draft: Draft) -> None:
    draft.operations = _ordered(draft, random.Random(0).random)


@rewrite("branches one after the other")
def depth_first(draft: Draft) -> None:
    """The operation that could run last is written first as soon as it can be."""
    places = iter(range(len(draft.operations), 0, -1))
    draft.operations = _ordered(draft, lambda: float(next(places)))


def _ordered(draft: Draft, priority: Callable[[], float]) -> list[Operation]:
    """Return the operations in the order of their priorities, as far as their inputs allow."""
    ranked = sorted((priority(), i) for i in range(len(draft.operations)))
    operations = draft.operations
    made = {variable.name for variable in draft.function.inputs}
    waiting = [operations[i] for _, i in ranked]
    written: list[Operation] = []
    while waiting:
        later = []
        for operation in waiting:
            if made.issuperset(operation.input_names):
                written.append(operation)
                made.update(variable.name for variable in operation.outputs)
            else:
                later.append(operation)
        waiting = later
    return written


@rewrite("operands commuted")
def operands_commuted(draft: Draft) -> None:
    draft.operations = [
        replace(o, inputs={**o.inputs, "x": o.inputs["y"], "y": o.inputs["x"]})
        if o.type in COMMUTATIVE
        else o
        for o in draft.operations
    ]


@rewrite("identities put in")
def identities(draft: Draft) -> None:
    _put_in(draft, lambda x, name, shape: _new("identity", name, shape, x=x))


@rewrite("reshapes to the same shape")
def reshapes(draft: Draft) -> None:
    _put_in(draft, _reshape)


@rewrite("transposes that keep the order")
def transposes(draft: Draft) -> None:
    _put_in(
        draft,
        lambda x, name, shape: _new("transpose", name, shape, x=x, perm=[*range(len(shape))]),
    )


@rewrite("casts to the same type")
def casts(draft: Draft) -> None:
    def step(x: str, name: str, shape: list[int]) -> Operation:
        return _new("cast", name, shape, x=x, dtype=constant("fp32"))

    _put_in(draft, step, step)


@rewrite("multiplications by one")
def times_one(draft: Draft) -> None:
    _put_in(draft, lambda x, name, shape: _new("mul", name, shape, x=x, y=1.0))


@rewrite("additions of zero")
def plus_zero(draft: Draft) -> None:
    _put_in(draft, lambda x, name, shape: _new("add", name, shape, x=constant(0.0), y=x))


@rewrite("divisions by one, subtractions of zero")
def over_one(draft: Draft) -> None:
    _put_in(
        draft,
        lambda x, name, shape: _new("real_div", name, shape, x=x, y=1.0),
        lambda x, name, shape: _new("sub", name, shape, x=x, y=0.0),
    )


@rewrite("pads by nothing")
def pads(draft: Draft) -> None:
    _put_in(
        draft,
        lambda x, name, shape: _new("pad", name, shape, x=x, pad=[0] * 2 * len(shape)),
    )


@rewrite("concatenations of one")
def concatenations(draft: Draft) -> None:
    def step(x: str, name: str, shape: list[int]) -> Operation:
        made = _new("concat", name, shape, axis=np.int32(0), interleave=np.bool_(False))
        return replace(made, inputs={**made.inputs, "values": (x,)})

    _put_in(draft, step)


@rewrite("slices of everything")
def slices(draft: Draft) -> None:
    def step(x: str, name: str, shape: list[int]) -> Operation:
        return _new("slice_by_index", name, shape, x=x, begin=[0] * len(shape), end=shape)

    _put_in(draft, step)


@rewrite("transposed there and back")
def transpose_pairs(draft: Draft) -> None:
    _put_in(
        draft,
        lambda x, name, shape: _new(
            "transpose", name, shape[::-1], x=x, perm=[*range(len(shape))][::-1]
        ),
        lambda x, name, shape: _new("transpose", name, shape, x=x, perm=[*range(len(shape))][::-1]),
        rank=2,
    )


@rewrite("reshaped there and back")
def reshape_pairs(draft: Draft) -> None:
    def flat(x: str, name: str, shape: list[int]) -> Operation:
        return _new("reshape", name, [int(np.prod(shape))], x=x, shape=[-1])

    _put_in(draft, flat, _reshape, rank=2)


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
            written.append(_new("identity", first.name, shape, x=made.name))
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
        unread.append(_new("square", name, shape_of(operation), x=key(operation)))
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


@rewrite("defaults left out")
def defaults_left_out(draft: Draft) -> None:
    known = {name: o.attributes["val"] for name, o in draft.constants.items()}

    def is_default(operation: Operation, parameter: str, binding: Binding) -> bool:
        described = definition(operation.type).parameters[parameter]
        held = binding if isinstance(binding, Constant) else known.get(binding)
        if described.required or described.default is None or held is None:
            return False
        if isinstance(held.value, str):
            return bool(held.value == described.default)
        array = draft.package.constants.array(held)
        same = array.size == 1 and np.float32(array.item()) == np.float32(described.default)
        return bool(same)

    draft.operations = [
        o
        if o.type == "const"
        else replace(o, inputs={p: b for p, b in o.inputs.items() if not is_default(o, p, b[0])})
        for o in draft.operations
    ]


@rewrite("inputs and outputs in another order")
def another_interface(draft: Draft) -> None:
    block = replace(draft.function.block, outputs=draft.function.block.outputs[::-1])
    draft.function = replace(draft.function, block=block, inputs=draft.function.inputs[::-1])


@rewrite("other metadata")
def other_metadata(draft: Draft) -> None:
    draft.metadata |= {"author": "somebody", "license": "MIT", "version": "7", "colour": "green"}
    draft.sidecar = replace(
        draft.sidecar, facts={**draft.sidecar.facts, "command": "by hand", "git_commit": "0" * 40}
    )


def _other_weight_file(source: Path, target: Path) -> None:
    """Constants lie in reverse order, with gaps, and with one that no program names."""
    import_coremltools()
    from coremltools.proto import Model_pb2

    shutil.copytree(source, target)
    folder = target / "Data" / "com.apple.CoreML"
    specification = Model_pb2.Model()
    specification.ParseFromString((folder / "model.mlmodel").read_bytes())
    old = (folder / "weights" / "weight.bin").read_bytes()
    references = _blob_references(specification)
    offsets = sorted({reference.offset for reference in references}, reverse=True)
    moved, written = {}, bytearray(old[: HEADER.size])
    for number, offset in enumerate(offsets):
        written += b"\xa5" * 64 * (number % 3)
        moved[offset] = len(written)
        sentinel, code, size, start, padding = METADATA.unpack_from(old, offset)
        written += METADATA.pack(sentinel, code, size, len(written) + METADATA.size, padding)
        written += old[start : start + size] + bytes(-size % 64)
    for reference in references:
        reference.offset = moved[reference.offset]
    (folder / "weights" / "weight.bin").write_bytes(bytes(written))
    (folder / "model.mlmodel").write_bytes(specification.SerializeToString())


def _blob_references(specification: Any) -> list[Any]:
    return [
        value.blobFileValue
        for function in specification.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        for value in operation.attributes.values()
        if value.WhichOneof("value") == "blobFileValue"
    ]


def _written_by_coremltools(source: Path, target: Path) -> None:
    """Read by coremltools as a program of its own and written again, with the same metadata."""
    import_coremltools()
    from coremltools.converters.mil.backend.mil.load import load as write
    from coremltools.converters.mil.frontend.milproto.load import load as read
    from coremltools.proto import Model_pb2

    folder = Path("Data") / "com.apple.CoreML"
    specification = Model_pb2.Model()
    specification.ParseFromString((source / folder / "model.mlmodel").read_bytes())
    version = specification.specificationVersion
    program = read(specification, version, str(source / folder / "weights"))
    shutil.copytree(source, target)
    shutil.rmtree(target / folder / "weights")
    (target / folder / "weights").mkdir()
    again = write(program, str(target / folder / "weights"), specification_version=version)
    again.description.metadata.CopyFrom(specification.description.metadata)
    (target / folder / "model.mlmodel").write_bytes(again.SerializeToString())


def _other_manifest(source: Path, target: Path) -> None:
    """The files of the package have other names."""
    shutil.copytree(source, target)
    folder = target / "Data" / "com.apple.CoreML"
    (folder / "model.mlmodel").rename(folder / "network.mlmodel")
    item = {"author": "somebody", "description": "", "name": "network.mlmodel"}
    entries = {
        "A": {**item, "path": "com.apple.CoreML/network.mlmodel"},
        "B": {**item, "path": "com.apple.CoreML/weights"},
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": "A",
    }
    (target / "Manifest.json").write_text(json.dumps(manifest), "utf-8")


REWRITES["another weight file"] = _other_weight_file
REWRITES["written again by coremltools"] = _written_by_coremltools
REWRITES["another manifest"] = _other_manifest
