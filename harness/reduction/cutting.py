"""Takes some operations of a program out and makes a program of them.

What the operations read and none of them makes becomes an input, which gets the value that the
whole program had there. It becomes a constant where Core ML takes no such input (scalars, truth
values, 8-bit integers), where a parameter is read from it that has to be known before a run, and
where it was a compressed constant.

Values that were not recorded (lists, what comes after an error) can't be cut there: who reads one
needs who makes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from harness.errors import PackageError
from harness.mil.editing import constant, new_operation, replanned, with_inputs
from harness.mil.numerics import STORAGE
from harness.mil.plan import Plan, Source
from harness.mil.program import Block, Location, Operation, Variable
from harness.mil.saving import EXCHANGED, MAX_EXCHANGED_RANK
from harness.mil.types import DataType, StateType, TensorType, ValueType
from harness.reduction.attempt import Attempt, RunValues

_CASTABLE = (DataType.BOOL, DataType.INT8, DataType.UINT8, DataType.INT16, DataType.UINT16)


@dataclass(frozen=True, eq=False)
class Part:
    """An operation with what it reads and makes.

    Attributes:
        operation: as in the program.
        reads: names of the inputs and of other operations' results that it, or a block inside it,
            reads.
        makes: names of its results.
        mentions: every name in it, those of constants included.
    """

    operation: Operation
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    mentions: frozenset[str]


class Cutter:
    """Makes programs of some of the operations of one.

    Args:
        whole: the program with its inputs.
        known: the values at which it may be cut, by name.

    Attributes:
        parts: the operations but constants, in program order.
    """

    def __init__(self, whole: Attempt, known: RunValues | Mapping[str, np.ndarray]) -> None:
        self._model, self._inputs, self._known = whole.model, whole.inputs, known
        plan = whole.model.plan
        names = {slot: name for name, slot in plan.slots.items()}
        made = {name for step in plan.steps for name in _made(step.operation)}
        values = made | set(plan.inputs)
        self.parts = tuple(
            Part(
                step.operation,
                tuple(dict.fromkeys(names[s] for s in step.reads if names[s] in values)),
                _made(step.operation),
                frozenset(_mentioned(step.operation)),
            )
            for step in plan.steps
        )
        self._makers = {name: i for i, part in enumerate(self.parts) for name in part.makes}
        self._literals = _literals(plan)
        self._constexpr = {
            name
            for part in self.parts
            if part.operation.type.startswith("constexpr_")
            for name in part.makes
        }

    def maker(self, name: str) -> int | None:
        """Return the index of the part that makes a value; ``None`` for inputs."""
        return self._makers.get(name)

    def is_cuttable(self, name: str) -> bool:
        """Whether an operation's result may come from outside."""
        return isinstance(self._type(name), TensorType) and name in self._known

    def is_state(self, name: str) -> bool:
        """Whether a name stands for a state."""
        return isinstance(self._type(name), StateType)

    def cut(self, keep: Collection[int]) -> Attempt:
        """Return a program of the parts with the indices ``keep``.

        Its outputs are the results that none of the parts reads, and the program's own.

        Raises:
            PackageError: they make no program: there is nothing that it could return, say.
        """
        kept = [self.parts[index] for index in sorted(keep)]
        made = {name for part in kept for name in part.makes}
        read = dict.fromkeys(n for part in kept for n in part.reads if n not in made)
        arrays = {n: self._array(n) for n in read if not self.is_state(n)}
        inputs = {n: a for n, a in arrays.items() if self._is_input(n, a)}
        constants = {n: a for n, a in arrays.items() if n not in inputs}
        outputs, casts = self._outputs(kept, made)
        operations = [_const(n, self._fixed(n, a), a) for n, a in constants.items()]
        operations += [*self._kept(kept), *casts]
        function = self._model.plan.function
        changed = replace(
            function,
            inputs=tuple(self._input(name, inputs) for name in read if name not in constants),
            block=Block((), outputs, tuple(operations)),
        )
        return Attempt(replanned(self._model, changed), inputs)

    def _type(self, name: str) -> ValueType:
        plan = self._model.plan
        return plan.types[plan.slots[name]]

    def _dtype(self, name: str) -> DataType:
        declared = self._type(name)
        assert isinstance(declared, TensorType)  # others can't be cut
        return declared.dtype

    def _array(self, name: str) -> np.ndarray:
        value = self._known[name] if name in self._makers else self._given(name)
        with np.errstate(over="ignore"):  # an expectation may be wider than what is declared
            return np.asarray(value, self._dtype(name).numpy)

    def _given(self, name: str) -> np.ndarray:
        """Return an input of the whole program; one that was left out is what stands for it."""
        if name in self._inputs:
            return self._inputs[name]
        feature = next(feature for feature in self._model.inputs if feature.name == name)
        filled = feature.filled(STORAGE, torch.device("cpu"), self._model.package.path)
        return STORAGE.to_numpy(filled, feature.dtype)

    def _is_input(self, name: str, array: np.ndarray) -> bool:
        if name not in self._makers:
            return True
        fits = self._dtype(name) in EXCHANGED and 1 <= array.ndim <= MAX_EXCHANGED_RANK
        return fits and array.size > 0 and name not in self._literals | self._constexpr

    def _fixed(self, name: str, array: np.ndarray) -> TensorType:
        return TensorType(self._dtype(name), array.shape)

    def _input(self, name: str, arrays: Mapping[str, np.ndarray]) -> Variable:
        type = self._fixed(name, arrays[name]) if name in arrays else self._type(name)
        return Variable(name, type)

    def _kept(self, kept: list[Part]) -> Iterator[Operation]:
        """Yield the operations, and the constants that they mention, in program order."""
        operations = {part.operation for part in kept}
        mentioned = frozenset().union(*(part.mentions for part in kept))
        for operation in self._model.plan.function.block.operations:
            if operation.type == "const":
                if operation.outputs[0].name in mentioned:
                    yield operation
            elif operation in operations:
                yield operation

    def _outputs(
        self, kept: list[Part], made: set[str]
    ) -> tuple[tuple[str, ...], tuple[Operation, ...]]:
        """Return the names of the outputs, and casts of what a model can't return."""
        read = {name for part in kept for name in part.reads}
        own = set(self._model.plan.outputs)
        names: list[str] = []
        casts: list[Operation] = []
        for name in (n for part in kept for n in part.makes if n not in read or n in own):
            type = self._type(name)
            if not isinstance(type, TensorType):
                continue
            if type.dtype in EXCHANGED:
                names.append(name)
            elif type.dtype in _CASTABLE:
                cast = f"{name}_as_int32"
                shape = type.shape or ()
                made_of = new_operation("cast", cast, shape, DataType.INT32, x=name)
                casts.append(with_inputs(made_of, dtype=constant("int32")))
                names.append(cast)
        if not names:
            raise PackageError("nothing is made that a model could return")
        return tuple(names), tuple(casts)


def _made(operation: Operation) -> tuple[str, ...]:
    return tuple(variable.name for variable in operation.outputs)


def _mentioned(operation: Operation) -> Iterator[str]:
    yield from operation.input_names
    for block in operation.blocks:
        yield from block.outputs
        for inner in block.operations:
            yield from _mentioned(inner)


def _literals(plan: Plan) -> frozenset[str]:
    """Return the values from which a parameter is read, those inside blocks included."""
    names = {slot: name for name, slot in plan.slots.items()}
    found = set()
    for step in plan.steps:
        found |= {names[a.payload] for a in step.arguments if a.source is Source.READ}
        for block in step.blocks:
            found |= _literals(block)
    return frozenset(found)


def _const(name: str, type: TensorType, array: np.ndarray) -> Operation:
    value = constant(array, type.dtype)
    attributes = {"name": constant(name), "val": value}
    return Operation("const", name, {}, (Variable(name, type),), attributes, Location("", 0))


class Units:
    """The operations of a program in groups: all that work on one state, and the others alone.

    The order in which operations read and write a state counts, so they stay together.

    Attributes:
        members: of each unit, the indices of its operations; units are in program order.
    """

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        groups: dict[str | int, list[int]] = {}
        for index, part in enumerate(cutter.parts):
            state = next(filter(cutter.is_state, part.reads), None)
            groups.setdefault(index if state is None else state, []).append(index)
        self.members = tuple(tuple(group) for group in groups.values())
        self._unit_of = {i: unit for unit, group in enumerate(self.members) for i in group}

    def operations(self, units: Collection[int]) -> frozenset[int]:
        """Return the operations in ``units``, and those that make what can't come from outside."""
        found: set[int] = set()
        waiting = list(units)
        while waiting:
            members = self.members[waiting.pop()]
            if members[0] in found:
                continue
            found.update(members)
            for name in (name for index in members for name in self._cutter.parts[index].reads):
                maker = self.of_value(name)
                if maker is not None and not self._cutter.is_cuttable(name):
                    waiting.append(maker)
        return frozenset(found)

    def of_value(self, name: str) -> int | None:
        """Return the unit in which a value is made; ``None`` for inputs."""
        maker = self._cutter.maker(name)
        return None if maker is None else self._unit_of[maker]

    def slices(self, unit: int) -> Iterator[tuple[int, ...]]:
        """Yield ``unit`` with 0, 1, 3, 7... of the units that it depends on, the nearest first."""
        near = list(self._ancestors(unit))
        size = 1
        while True:
            yield tuple(sorted(near[:size]))
            if size >= len(near):
                return
            size *= 2

    def _ancestors(self, unit: int) -> Iterator[int]:
        level, seen = [unit], {unit}
        while level:
            yield from level
            read = (n for u in level for i in self.members[u] for n in self._cutter.parts[i].reads)
            makers = {maker for name in read if (maker := self.of_value(name)) is not None}
            level = sorted(makers - seen, reverse=True)
            seen |= makers
