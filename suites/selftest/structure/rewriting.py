"""Harmless rewrites of a package: what another converter or tool may write that computes the same.

``REWRITES`` maps the name of each to a function that reads the package at one path and writes
another at the second. The rewritten package keeps the model contract, and papers that are right:
a value that is renamed is renamed in the sidecar, and one that is new has the module of what it was
made from. Values that the package's own recipe names keep their names, because such a recipe is a
claim about names. What is put in is put in where values are FP32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from harness.conversion import Sidecar, read_sidecar
from harness.mil import DataType
from harness.mil.editing import key, new_operation, with_inputs
from harness.mil.package import Package, open_package
from harness.mil.program import Function, Operation, verify
from harness.mil.saving import save_package
from harness.mil.types import TensorType

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


def put_in(draft: Draft, *steps: Callable[[str, str, list[int]], Operation], rank: int = 1) -> None:
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


def fp32_operation(type: str, name: str, to: Sequence[int], **inputs: Any) -> Operation:
    """Return an FP32 operation whose result has the shape ``to``."""
    bare = new_operation(type, name, to, DataType.FLOAT32)
    return with_inputs(bare, **inputs)


def reshape(x: str, name: str, shape: list[int]) -> Operation:
    return fp32_operation("reshape", name, shape, x=x, shape=shape)
