"""From a package to the graph of one of its functions, in the spelling in which graphs compare.

What is undone here is harmless, because it changes no bit of any value (but for -0.0, see
`harness.structure.identities`): names, the order of independent operations and of constants, where
a constant lies and whether it is shared, one result computed twice, the order of operands that
commute, operations that hand on what they read, and defaults that are written out.

Operations that read or change a state, or draw random numbers, keep their order among themselves.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final, TypeAlias

import harness.mil.ops  # noqa: F401  (registers the operations)
from harness.mil.constants import in_type_of, literal_of
from harness.mil.opened import ConstantReader
from harness.mil.ops.registry import Definition, Effect, Kind, Parameter, definition
from harness.mil.program import Binding, Block, Constant, Function, Operation, Variable
from harness.mil.types import ValueType
from harness.structure.identities import Draft, passed_on, simplified
from harness.structure.terms import (
    COMMUTATIVE,
    INPUT,
    Fixed,
    Graph,
    Node,
    Operand,
    Scope,
    Source,
    Value,
    digest_of,
    plain,
    settings_key,
)

_Names: TypeAlias = MutableMapping[str, Source]
_ORDER: Final = "after"
"""Operand of a node that has an effect: the one that had its effect before."""


def lower_pair(
    expected: Function, constants: ConstantReader, actual: Function, others: ConstantReader
) -> tuple[Graph, Graph]:
    """Return the graphs of two verified functions, with inputs and outputs that belong together.

    Those are known by their names where both functions have the same, and else by their position.
    Operations that the executor doesn't know are taken as they are written.

    Args:
        expected, actual: what to lower.
        constants, others: read the values of their constants.

    Raises:
        PackageError: a constant can't be read.
    """
    functions = (expected, actual)
    inputs = _keys(*([variable.name for variable in f.inputs] for f in functions))
    outputs = _keys(*(list(f.block.outputs) for f in functions))
    readers = (constants, others)
    graphs = [
        Graph(f.name, _scope(f.block, f.inputs, {}, (), reader, ins, outs))
        for f, reader, ins, outs in zip(functions, readers, inputs, outputs, strict=True)
    ]
    return graphs[0], graphs[1]


def _keys(expected: list[str], actual: list[str]) -> tuple[list[str], list[str]]:
    if sorted(expected) == sorted(actual):
        return expected, actual
    return _positions(expected), _positions(actual)


def _positions(items: Sequence[object]) -> list[str]:
    return [str(number) for number in range(len(items))]


def _scope(
    block: Block,
    inputs: tuple[Variable, ...],
    outer: Mapping[str, Source],
    place: tuple[int, ...],
    constants: ConstantReader,
    input_keys: list[str],
    output_keys: list[str],
) -> Scope:
    """Lower ``block``; ``place`` tells its inputs from those of the blocks around it."""
    nodes = [
        Node(i, INPUT, v.name, (), {}, (v.type,), (), digest_of(INPUT, place, key, str(v.type)))
        for i, (v, key) in enumerate(zip(inputs, input_keys, strict=True))
    ]
    own: dict[str, Source] = {node.name: Value(node, 0) for node in nodes}
    scope = Scope(dict(zip(input_keys, nodes, strict=True)))
    builder = _Builder(scope, ChainMap(own, dict(outer)), place, constants)
    for operation in block.operations:
        builder.add(operation)
    returned = [builder.names[name] for name in block.outputs]
    scope.outputs.update(zip(output_keys, returned, strict=True))
    scope.captures = builder.captured()
    return scope


class _Builder:
    """Fills a scope operation by operation."""

    def __init__(
        self, scope: Scope, names: _Names, place: tuple[int, ...], constants: ConstantReader
    ) -> None:
        self._place, self._constants = place, constants
        self.scope, self.names = scope, names
        self._known: dict[bytes, Node] = {}

    def add(self, operation: Operation) -> None:
        """Add one operation, or nothing where it is a constant, an identity or known already."""
        if operation.type == "const":
            held = operation.attributes["val"]
            self.names[operation.outputs[0].name] = Fixed(held, self._constants.array)
            return
        operands, settings = self._inputs(operation)
        results = tuple(variable.type for variable in operation.outputs)
        draft = simplified(Draft(operation.type, tuple(operands), settings, results))
        handed = passed_on(draft)
        if handed is not None and not operation.blocks:
            self.names[operation.outputs[0].name] = handed
            return
        node = self._node(operation, draft)
        for number, variable in enumerate(operation.outputs):
            self.names[variable.name] = Value(node, number)

    def captured(self) -> tuple[Value, ...]:
        """Return the results of nodes outside that the scope reads."""
        inside = {*self.scope.inputs.values(), *self.scope.nodes}
        read = [value for node in self.scope.nodes for value in node.values]
        read += [s for s in self.scope.outputs.values() if isinstance(s, Value)]
        return tuple(dict.fromkeys(value for value in read if value.node not in inside))

    def _node(self, operation: Operation, draft: Draft) -> Node:
        scopes = tuple(
            _scope(
                block,
                block.inputs,
                self.names,
                (*self._place, number),
                self._constants,
                _positions(block.inputs),
                _positions(block.outputs),
            )
            for number, block in enumerate(operation.blocks)
        )
        operands = draft.operands
        effect = _has_effect(operation, scopes)
        if effect and self.scope.last is not None:
            operands = (*operands, Operand(_ORDER, 0, Value(self.scope.last, 0)))
        digest = _digest(draft, operands, scopes)
        if not effect and digest in self._known:
            return self._known[digest]
        node = Node(
            index=len(self.scope.nodes),
            type=draft.type,
            name=operation.outputs[0].name if operation.outputs else operation.name,
            operands=operands,
            settings=draft.settings,
            results=draft.results,
            scopes=scopes,
            digest=digest,
        )
        self.scope.nodes.append(node)
        self._known[digest] = node
        if effect:
            self.scope.last = node
        return node

    def _inputs(self, operation: Operation) -> tuple[list[Operand], dict[str, Any]]:
        """Return what an operation reads, and its parameters that are plain values."""
        known = _definition(operation.type)
        operands: list[Operand] = []
        settings = _attributes(operation)
        for name in sorted(operation.inputs):
            parameter = known.parameters.get(name) if known else None
            sources = [self._source(binding) for binding in operation.inputs[name]]
            fixed = [source.constant for source in sources if isinstance(source, Fixed)]
            if len(fixed) == len(sources) > 0 and _is_setting(parameter, fixed):
                settings[name] = self._literal(operation, name, parameter, fixed)
            else:
                operands += [Operand(name, i, source) for i, source in enumerate(sources)]
        if known is not None:
            _add_defaults(settings, known, operands)
        return operands, settings

    def _source(self, binding: Binding) -> Source:
        if isinstance(binding, Constant):
            return Fixed(binding, self._constants.array)
        return self.names[binding]

    def _literal(
        self, operation: Operation, name: str, parameter: Parameter | None, fixed: list[Constant]
    ) -> Any:
        what = f"operation {operation}: input {name!r}"
        if parameter is None:
            return tuple(map(plain, fixed))
        return literal_of(fixed, parameter.kind, self._constants.array, what)


def _definition(type: str) -> Definition | None:
    try:
        return definition(type)
    except KeyError:
        return None


def _attributes(operation: Operation) -> dict[str, Any]:
    """Return what an operation says beside its inputs; its name says nothing."""
    return {
        f"attribute {name}": plain(held.value)
        for name, held in operation.attributes.items()
        if name != "name" and name not in operation.inputs
    }


def _is_setting(parameter: Parameter | None, fixed: list[Constant]) -> bool:
    if parameter is None:  # of an operation or input that the executor doesn't know
        return all(isinstance(constant.value, str | tuple | dict) for constant in fixed)
    return not parameter.kind.is_value


def _add_defaults(settings: dict[str, Any], known: Definition, operands: list[Operand]) -> None:
    """Add what holds where the program says nothing, so that saying it changes nothing."""
    first = next((operand.source.type for operand in operands), None)
    bound = {operand.parameter for operand in operands}
    for parameter in known.parameters.values():
        name = parameter.name
        if name in settings or name in bound or parameter.kind.is_value or parameter.required:
            continue
        default = _rounded(parameter, first)
        if default is not None:
            settings[name] = default


def _rounded(parameter: Parameter, first: ValueType | None) -> Any:
    """Return a default as the executor takes it: a number in the type of the first tensor."""
    if parameter.kind is not Kind.FLOAT or parameter.default is None:
        return parameter.default
    return in_type_of(parameter.default, first)


def _has_effect(operation: Operation, scopes: tuple[Scope, ...]) -> bool:
    known = _definition(operation.type)
    writes = known is not None and known.effect is Effect.WRITE
    inside = any(scope.last is not None for scope in scopes)
    return (
        writes or inside or operation.type == "read_state" or operation.type.startswith("random_")
    )


def _digest(draft: Draft, operands: tuple[Operand, ...], scopes: tuple[Scope, ...]) -> bytes:
    if draft.type in COMMUTATIVE:
        read: list[Any] = sorted(operand.source.digest for operand in operands)
    else:
        read = [(operand.place, operand.source.digest) for operand in operands]
    results = [str(type_) for type_ in draft.results]
    inner = [scope.digest for scope in scopes]
    return digest_of(draft.type, settings_key(draft.settings), read, results, inner)
