"""From a verified function to its plan.

Made once for a function. Each operation's inputs are bound to the parameters of its definition:
Python values where the program gives a constant, slots where a value arrives at run time. What the
executor can't do is refused here, before anything runs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import harness.mil.ops  # noqa: F401  (registers the operations)
from harness.errors import PackageError, UnsupportedOperationError
from harness.mil.constants import ReadArray, in_type_of, literal_of
from harness.mil.ops.registry import HELD, Definition, Effect, Parameter, ParameterKind, find
from harness.mil.plan import Argument, Plan, Source, Step
from harness.mil.program import Binding, Block, Constant, Function, Operation, Variable
from harness.mil.types import (
    DataType,
    DictionaryType,
    ListType,
    StateType,
    TensorType,
    ValueType,
    element_type,
)

# No model holds a single value of this size; a broken or hostile file can declare one.
_MAX_VALUE_BYTES = 1 << 34


def build_plan(function: Function, read: ReadArray) -> Plan:
    """Plan ``function``; ``read`` returns the array of a numeric constant.

    Raises:
        UnsupportedOperationError: an operation or one of its inputs is unknown to the executor.
        PackageError: an input is missing or has the wrong kind; names the operation.
    """
    builder = _PlanBuilder(function, function.block, read)
    plan = _plan_block(builder, function.inputs, f"function {function.name!r}")
    _check_signature(plan)
    return plan


def _plan_block(builder: _PlanBuilder, inputs: tuple[Variable, ...], owner: str) -> Plan:
    block = builder.block
    for variable in inputs:
        builder.inputs[variable.name] = builder.slot(variable, f"input of {owner}")
    steps = [builder.step(o) for o in block.operations if o.type != "const"]
    for name in block.outputs:
        builder.find(name, owner)
    return Plan(
        function=builder.function,
        steps=tuple(steps),
        slots=builder.slots,
        types=tuple(builder.types),
        inputs=builder.inputs,
        captures=builder.captures,
        constants=builder.tensors,
        outputs=block.outputs,
        expansions=_expansions(steps, builder.tensors),
    )


def _expansions(steps: Sequence[Step], constants: Collection[int]) -> tuple[Step, ...]:
    found, known = [], set(constants)
    for step in steps:
        if step.operation.type.startswith("constexpr_") and known.issuperset(step.reads):
            found.append(step)
            known.update(step.outputs)
    return tuple(found)


@dataclass
class _PlanBuilder:
    function: Function
    block: Block
    read: ReadArray
    outer: _PlanBuilder | None = None
    slots: dict[str, int] = field(default_factory=dict)
    types: list[ValueType] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    captures: dict[int, int] = field(default_factory=dict)
    tensors: dict[int, Constant] = field(default_factory=dict)

    def slot(self, variable: Variable, owner: object) -> int:
        _check_type(variable.type, f"{owner}: value {variable.name!r}")
        self.slots[variable.name] = len(self.types)
        self.types.append(variable.type)
        return self.slots[variable.name]

    def find(self, name: str, reader: object) -> int:
        """Return the slot of a name that this block or one around it defines."""
        if name in self.slots:
            return self.slots[name]
        if name in self.block.constants:
            return self._constant_slot(self.block.constants[name], name, reader)
        if self.outer is None:
            raise PackageError(f"{reader} reads {name!r}, which nothing defines")
        there = self.outer.find(name, reader)
        slot = self.slot(Variable(name, self.outer.types[there]), reader)
        self.captures[slot] = there
        return slot

    def _constant_slot(self, constant: Constant, name: str, reader: object) -> int:
        if not isinstance(constant.type, TensorType) or constant.type.dtype is DataType.STRING:
            raise PackageError(f"{reader} reads {name!r}, which is no tensor of numbers")
        if name not in self.slots:
            self.tensors[self.slot(Variable(name, constant.type), reader)] = constant
        return self.slots[name]

    def step(self, operation: Operation) -> Step:
        definition = find(operation)
        arguments = [self._argument(operation, p) for p in definition.parameters.values()]
        arguments = [self._in_element_type(operation, a, arguments) for a in arguments]
        blocks = tuple(
            _plan_block(
                _PlanBuilder(self.function, block, self.read, self),
                block.inputs,
                f"operation {operation}",
            )
            for block in operation.blocks
        )
        outputs = tuple(self.slot(v, f"operation {operation}") for v in operation.outputs)
        step = Step(
            operation=operation,
            definition=definition,
            arguments=tuple(arguments),
            outputs=outputs,
            types=tuple(self.types[slot] for slot in outputs),
            moves_exactly=self._moves_exactly(definition, arguments, outputs),
            blocks=blocks,
        )
        _check_passed_types(step, self.types)
        return step

    def _argument(self, operation: Operation, parameter: Parameter) -> Argument:
        bindings = operation.inputs.get(parameter.name, ())
        name, kind = parameter.name, parameter.kind
        if not bindings:
            if parameter.required:
                raise PackageError(f"operation {operation} lacks its required input {name!r}")
            return Argument(name, Source.LITERAL, parameter.default, kind)
        if kind in (ParameterKind.TENSORS, ParameterKind.VALUES):
            slots = tuple(self._value(operation, name, i, b, kind) for i, b in enumerate(bindings))
            return Argument(name, Source.SLOTS, slots, kind)
        constants = [known for b in bindings if (known := self._known(b)) is not None]
        what = f"operation {operation}: input {name!r}"
        if len(constants) == len(bindings) and not kind.is_value:
            return Argument(
                name, Source.LITERAL, literal_of(constants, kind, self.read, what), kind
            )
        if kind is ParameterKind.LABELS:
            raise PackageError(f"{what} must be a constant")
        if len(bindings) != 1:
            raise PackageError(f"{what} is bound to {len(bindings)} values, not 1")
        source, held = (Source.SLOT, kind) if kind.is_value else (Source.READ, ParameterKind.TENSOR)
        return Argument(name, source, self._value(operation, name, 0, bindings[0], held), kind)

    def _known(self, binding: Binding) -> Constant | None:
        if isinstance(binding, Constant):
            return binding
        if binding in self.block.constants or binding in self.slots or self.outer is None:
            return self.block.constants.get(binding)
        return self.outer._known(binding)

    def _value(
        self, operation: Operation, name: str, index: int, binding: Binding, kind: ParameterKind
    ) -> int:
        if isinstance(binding, Constant):
            # Not an identifier, so no value has it; and the constant's own, because operations that
            # were made in memory are all at one place.
            unnamed = f"{operation.location}.{name}.{index}.{id(binding)}"
            slot = self._constant_slot(binding, unnamed, f"operation {operation}")
        else:
            slot = self.find(binding, f"operation {operation}")
        held = self.types[slot]
        is_text = isinstance(held, TensorType) and held.dtype is DataType.STRING
        if is_text or not isinstance(held, HELD[kind]):
            raise PackageError(f"operation {operation}: input {name!r} is {held}, not {kind.value}")
        return slot

    def _in_element_type(
        self, operation: Operation, argument: Argument, all_: list[Argument]
    ) -> Argument:
        """Give an ``epsilon``, and any number that is absent, the first tensor's element type.

        From iOS 17 on a program may hold an ``epsilon`` in FP32 beside a tensor in FP16; a sum in
        FP16 has no more room for it.
        """
        given = bool(operation.inputs.get(argument.name)) and argument.name != "epsilon"
        literal = argument.source is Source.LITERAL and argument.kind is ParameterKind.FLOAT
        if given or not literal or argument.payload is None:
            return argument
        first = next((self.types[slot] for other in all_ for slot in other.slots), None)
        return replace(argument, payload=in_type_of(argument.payload, first))

    def _moves_exactly(
        self, definition: Definition, arguments: list[Argument], outputs: tuple[int, ...]
    ) -> bool:
        if definition.effect is Effect.COMPUTE:
            return False
        if definition.effect in (Effect.ALIAS, Effect.WRITE):
            return True  # `_check_passed_types` sees to it that element types agree
        read = [slot for a in arguments if a.kind.is_value for slot in a.slots]
        return len(self._floating(read)) <= 1 and self._floating(outputs) <= self._floating(read)

    def _floating(self, slots: Collection[int]) -> set[DataType]:
        dtypes = {element_type(self.types[slot]) for slot in slots}
        return {dtype for dtype in dtypes if dtype is not None and dtype.is_floating}


def _check_type(type: ValueType, owner: str) -> None:
    """Check that the executor can hold a value of ``type``.

    Raises:
        PackageError: it is declared too large; ``owner`` says what it is.
        UnsupportedOperationError: it is a tuple.
    """
    if isinstance(type, ListType):
        _check_type(type.element, owner)
    elif isinstance(type, StateType):
        _check_type(type.wrapped, owner)
    elif isinstance(type, TensorType):
        if type.is_static and type.count * type.dtype.bits > 8 * _MAX_VALUE_BYTES:
            raise PackageError(
                f"{owner} is declared as {type}, more than {_MAX_VALUE_BYTES >> 30} GiB; "
                "the package is broken or hostile"
            )
    elif not isinstance(type, DictionaryType):
        raise UnsupportedOperationError(f"{owner} is a {type}; the executor handles no tuples")


def _check_signature(plan: Plan) -> None:
    """Check that a function takes tensors and states, and returns tensors and dictionaries.

    Raises:
        UnsupportedOperationError: it does not.
    """
    name = plan.function.name
    for kind, names, allowed in (
        ("takes", plan.inputs, (TensorType, StateType)),
        ("returns", plan.outputs, (TensorType, DictionaryType)),
    ):
        for value in names:
            type = plan.types[plan.slots[value]]
            if not isinstance(type, allowed):
                raise UnsupportedOperationError(
                    f"function {name!r} {kind} {value!r}, a {type}; the executor can't"
                )


def _check_passed_types(step: Step, types: Sequence[ValueType]) -> None:
    """Check element types where values pass through unrounded: blocks, lists and states.

    Args:
        step: the operation.
        types: declared type of each slot of its plan.

    Raises:
        PackageError: they differ.
    """
    if step.definition.takes_blocks:
        _check_blocks(step, types)
    elif step.definition.effect in (Effect.ALIAS, Effect.WRITE):
        read = [slot for a in step.arguments if a.kind.is_value for slot in a.slots]
        found = {element_type(types[slot]) for slot in (*read, *step.outputs)}
        if len(found) > 1:
            raise PackageError(
                f"operation {step.operation} mixes the element types "
                f"{', '.join(sorted(map(str, found)))}, but can only pass values on"
            )


def _check_blocks(step: Step, types: Sequence[ValueType]) -> None:
    passed = [a for a in step.arguments if a.kind is ParameterKind.VALUES]
    given = [element_type(types[slot]) for a in passed for slot in a.slots]
    declared = [element_type(type) for type in step.types]
    # The first block of a loop is its condition; all others give the operation's results.
    conditions = 1 if passed else 0
    if len(step.blocks) != 2:
        raise PackageError(f"operation {step.operation} has {len(step.blocks)} blocks, not 2")
    for number, block in enumerate(step.blocks):
        takes = [element_type(block.types[slot]) for slot in block.inputs.values()]
        gives = [element_type(block.types[block.slots[name]]) for name in block.outputs]
        expected = [DataType.BOOL] if number < conditions else declared
        if takes != given or gives != expected:
            raise PackageError(
                f"operation {step.operation}: block {number} goes from {_listed(takes)} to "
                f"{_listed(gives)}, but must go from {_listed(given)} to {_listed(expected)}"
            )


def _listed(types: Sequence[DataType | None]) -> str:
    return f"({', '.join(map(str, types))})"
