"""The place of a mutation, and the register of mutation operators: what can be done there.

An operator is a function that takes a `MutationSite` and returns the operations that stand in the
place of the site's one, or None where it does not apply. The last of them makes values with the
names, shapes and types of the original's, so the rest of the program stays as it is::

    @operator("tanh approximation", "gelu")
    def tanh(site: MutationSite) -> Edit | None:
        return [with_inputs(site.operation, mode=constant("TANH_APPROXIMATION"))]
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from harness.errors import PackageError, ParityError
from harness.mil import Model
from harness.mil.editing import Bindable, constant, key, known_value, new_operation, with_constant
from harness.mil.program import Constant, Operation, Variable
from harness.mil.types import TensorType

Kind = Literal["scale", "operand", "skip"]
"""The result multiplied, something that the operation reads changed, or the operation left out."""
Edit: TypeAlias = Sequence[Operation]


@dataclass(frozen=True, eq=False)
class MutationSite:
    """One operation of a program.

    Attributes:
        model: the program.
        operation: what is mutated.
    """

    model: Model
    operation: Operation

    @property
    def result(self) -> TensorType:
        """Declared type of the first result."""
        return self.type_of(key(self.operation))

    def type_of(self, name: str) -> TensorType:
        """Return the declared type of a value or constant.

        Raises:
            ParityError: it is no tensor.
        """
        declared = self.model.plan.types[self.model.plan.slots[name]]
        if not isinstance(declared, TensorType):
            raise ParityError(f"value {name!r} is a {declared}; only tensors are mutated")
        return declared

    @property
    def shape(self) -> list[int]:
        """Shape of the first result."""
        return [size or 1 for size in self.result.shape or ()]

    def shape_of(self, parameter: str) -> list[int]:
        """Return the shape of the value that an input is bound to; empty if that is none."""
        name = self.read(parameter)
        return [] if name is None else [size or 1 for size in self.type_of(name).shape or ()]

    def read(self, parameter: str) -> str | None:
        """Return the name of the value that an input is bound to; None if that is a constant."""
        bindings = self.operation.inputs.get(parameter, ())
        if len(bindings) != 1 or not isinstance(bindings[0], str):
            return None
        return None if bindings[0] in self.model.plan.function.block.constants else bindings[0]

    def constant(self, parameter: str) -> np.ndarray | None:
        """Return the array of numbers that an input is bound to; None if it is bound to no such."""
        try:
            value = known_value(self.model, self.operation, parameter)
        except PackageError:
            return None
        return None if isinstance(value, str) else value

    def changed(
        self, parameter: str, change: Callable[[np.ndarray], np.ndarray], least: int = 1
    ) -> Edit | None:
        """Return the operation with a constant of ``least`` elements or more changed.

        ``change`` gets a copy; None where the input is bound to no such constant.
        """
        value = self.constant(parameter)
        if value is None or value.size < least:
            return None
        return [with_constant(self.model, self.operation, parameter, change)]

    def draw(self, below: int) -> int:
        """Return a number from 0 to ``below - 1`` that is always the same for this operation."""
        seed = zlib.crc32(key(self.operation).encode())
        return int(np.random.default_rng(seed).integers(below))

    def before(self, parameter: str, type: str, shape: Sequence[int], **inputs: Bindable) -> Edit:
        """Return the operation with another one put in front of one of its inputs.

        Args:
            parameter: the input, bound to a value.
            type, shape, inputs: of the operation in front; its ``x`` is that value.
        """
        name = self.read(parameter)
        if name is None:
            raise ParityError(f"input {parameter!r} of {self.operation} is no value")
        made = f"{key(self.operation)}~{parameter}"
        dtype = self.type_of(name).dtype
        first = new_operation(type, made, shape, dtype, x=name, **inputs)
        bound = {**self.operation.inputs, parameter: (made,)}
        return [first, replace(self.operation, inputs=bound)]

    def followed(self, type: str, **inputs: Bindable) -> Edit:
        """Return the operation with another one of the same shape put behind each of its results.

        Args:
            type, inputs: of the operation behind, whose ``x`` is the result; floats are stored in
                the result's element type.
        """
        renamed = tuple(Variable(f"{v.name}~", v.type) for v in self.operation.outputs)
        edit = [replace(self.operation, outputs=renamed)]
        for before, result in zip(renamed, self.operation.outputs, strict=True):
            made = self.type_of(result.name)
            own = {
                n: constant(v, made.dtype) if isinstance(v, float) else v for n, v in inputs.items()
            }
            shape = made.shape or ()
            edit.append(new_operation(type, result.name, shape, made.dtype, x=before.name, **own))
        return edit


@dataclass(frozen=True)
class Operator:
    """A mutation operator: what it does, to which types of operations (all if none is named)."""

    kind: Kind
    change: str
    types: frozenset[str]
    apply: Callable[[MutationSite], Edit | None]


@dataclass(frozen=True, eq=False)
class Mutant:
    """One operation with one operator applied: what stands in its place."""

    index: int
    kind: Kind
    change: str
    operations: tuple[Operation, ...]

    @property
    def changes_constants(self) -> bool:
        """Whether a tensor of floating-point numbers stands in the place of another."""
        bindings = [b for o in self.operations for bound in o.inputs.values() for b in bound]
        types = [binding.type for binding in bindings if isinstance(binding, Constant)]
        return any(isinstance(t, TensorType) and t.dtype.is_floating and t.shape for t in types)


_OPERATORS: list[Operator] = []
_Apply = Callable[[MutationSite], Edit | None]


def operator(change: str, *types: str, kind: Kind = "operand") -> Callable[[_Apply], _Apply]:
    """Register the decorated function for operations of ``types``, of all types if none is given.

    Raises:
        ParityError: one of the types has this change already.
    """

    def register(function: _Apply) -> _Apply:
        new = Operator(kind, change, frozenset(types), function)
        for other in _OPERATORS:
            if other.change == change and (other.types & new.types or not types):
                raise ParityError(f"the mutation operator {change!r} is registered twice")
        _OPERATORS.append(new)
        return function

    return register


def mutants(model: Model, index: int) -> Iterator[Mutant]:
    """Yield every mutation of one operation, in the order of the register.

    Branches, loops and lists have none.
    """
    site = MutationSite(model, model.operations[index])
    slots, types = model.plan.slots, model.plan.types
    names = (*(v.name for v in site.operation.outputs), *site.operation.input_names)
    known = [types[slots[name]] for name in names if name in slots]
    if site.operation.blocks or not all(isinstance(type, TensorType) for type in known):
        return
    for each in _OPERATORS:
        if each.types and site.operation.type not in each.types:
            continue
        edit = each.apply(site)
        if edit is not None:
            yield Mutant(index, each.kind, each.change, tuple(edit))
