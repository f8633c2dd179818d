"""From a planned function to an ONNX graph: operation by operation, with the declared roundings.

Every value of the program keeps its name and its declared type. An FP16 operation is computed in
FP32 between a cast from FP16 and one to it: what the executor's numerics ``storage`` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import harness.onnx_export.rules  # noqa: F401  (registers the rules)
from harness.errors import UnsupportedOperationError
from harness.mil import Model
from harness.mil.plan import Argument, Plan, Source, Step
from harness.mil.types import DataType, StateType, TensorType
from harness.mil.values import FAILURES
from harness.onnx_export.build import Graph, Value, held_as, wide
from harness.onnx_export.registry import Rule, find_rule

_ROUNDED = (DataType.BFLOAT16, DataType.FLOAT8E4M3FN, DataType.FLOAT8E5M2)


@dataclass(frozen=True)
class Exported:
    """A function as an ONNX graph.

    Attributes:
        name: of the function.
        graph: its nodes and initializers.
        inputs: what it takes, in declared order.
        outputs: what it returns, in declared order.
        values: every tensor that the program's operations make, by name.
    """

    name: str
    graph: Graph
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    values: dict[str, Value]


def export_model(model: Model) -> Exported:
    """Write the chosen function of ``model`` as an ONNX graph.

    Raises:
        UnsupportedOperationError: an operation, or a way in which it is used, can't be exported;
            names it.
    """
    plan = model.plan
    writer = _Writer(plan, Graph(set(plan.slots)))
    for slot, constant in plan.constants.items():
        writer.constants[slot] = model.package.constants.array(constant)
    inputs = tuple(writer.declared(slot, name) for name, slot in plan.inputs.items())
    for step in plan.steps:
        writer.write(step)
    values = {
        variable.name: writer.declared(plan.slots[variable.name], variable.name)
        for step in plan.steps
        for variable in step.operation.outputs
    }
    outputs = [writer.declared(plan.slots[name], name) for name in plan.outputs]
    for value in outputs:
        writer.use_constant(plan.slots[value.name])
    return Exported(plan.function.name, writer.graph, inputs, tuple(outputs), values)


@dataclass
class _Writer:
    plan: Plan
    graph: Graph
    constants: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = {slot: name for name, slot in self.plan.slots.items()}

    def declared(self, slot: int, reader: str) -> Value:
        """Return a value of the program as its operations are declared to store it."""
        name, type = self.names[slot], self.plan.types[slot]
        if not isinstance(type, TensorType) or type.dtype is DataType.STRING:
            what = "a state" if isinstance(type, StateType) else f"a {type}"
            raise UnsupportedOperationError(
                f"{name!r} is {what}, which can't be exported: only tensors of numbers can"
            )
        array = self.constants.get(slot)
        return Value(name, held_as(type.dtype), type.shape, array, reader)

    def use_constant(self, slot: int) -> None:
        """Make an initializer of a constant that is read."""
        if slot in self.constants:
            self.graph.initializers.setdefault(self.names[slot], self.constants[slot])

    def write(self, step: Step) -> None:
        """Add the nodes of one operation."""
        operation, rule = step.operation, find_rule(step.operation)
        if step.blocks:
            raise UnsupportedOperationError(
                f"operation {operation} has blocks, which no rule takes"
            )
        targets = [self.declared(slot, str(operation)) for slot in step.outputs]
        self.graph.scope = targets[0].name
        as_stored = rule.stored or (rule.moves and step.moves_exactly)
        keywords = {a.name: self._argument(step, a, rule, as_stored) for a in step.arguments}
        if "out_shape" in rule.asks_for:
            keywords["out_shape"] = targets[0].sizes
        if "out_type" in rule.asks_for:
            keywords["out_type"] = targets[0].dtype
        try:
            returned = rule.function(self.graph, **keywords)
        except FAILURES as error:
            raise UnsupportedOperationError(
                f"operation {operation} can't be exported, its parameters don't fit: {error!r}"
            ) from error
        results = returned if isinstance(returned, tuple) else (returned,)
        made = _made(rule, targets, as_stored)
        for result, given, target, slot in zip(results, made, targets, step.outputs, strict=True):
            self._refuse_unknown_rounding(step, slot)
            self.graph.bind(result, given, target.name, target.dtype)

    def _argument(self, step: Step, argument: Argument, rule: Rule, as_stored: bool) -> Any:
        if argument.source is Source.LITERAL:
            return argument.payload
        if argument.source is Source.READ and argument.name not in rule.run_time:
            raise UnsupportedOperationError(
                f"operation {step.operation} takes its {argument.name!r} from "
                f"{self.names[argument.payload]!r}, which is made at run time; it can be exported "
                "where that is a constant"
            )
        values = tuple(self._value(step, slot, as_stored) for slot in argument.slots)
        return values if argument.source is Source.SLOTS else values[0]

    def _value(self, step: Step, slot: int, as_stored: bool) -> Value:
        value = self.declared(slot, str(step.operation))
        self.use_constant(slot)
        return value if as_stored else self.graph.in_type(value, wide(value.dtype))

    def _refuse_unknown_rounding(self, step: Step, slot: int) -> None:
        type = self.plan.types[slot]
        if isinstance(type, TensorType) and type.dtype in _ROUNDED and not step.moves_exactly:
            raise UnsupportedOperationError(
                f"operation {step.operation} rounds to {type.dtype}; only fp16, fp32 and fp64 can "
                "be exported"
            )


def _made(rule: Rule, targets: Sequence[Value], as_stored: bool) -> list[DataType]:
    """Return the element type of each result as a rule leaves it."""
    given = [*rule.gives, *[None] * (len(targets) - len(rule.gives))]
    return [
        dtype or (target.dtype if as_stored else wide(target.dtype))
        for dtype, target in zip(given, targets, strict=False)
    ]
