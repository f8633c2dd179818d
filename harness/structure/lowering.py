"""From a package to the terms of one of its functions, in the spelling in which programs compare.

What is undone here is harmless, because it changes no bit of any value (but for -0.0, see
`harness.structure.identities`): names, the order of independent operations and of constants, where
a constant lies and whether it is shared, one result computed twice, the order of operands that
commute, operations that hand on what they read, and defaults that are written out.

Operations that read or change a state, or draw random numbers, keep their order among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import harness.mil.ops  # noqa: F401  (registers the operations)
from harness.mil.constants import ReadArray, in_type_of, literal_of
from harness.mil.graph import GraphBlock, GraphValue, Node, graph_of
from harness.mil.opened import ConstantReader
from harness.mil.ops.registry import Definition, Effect, Parameter, ParameterKind, definition
from harness.mil.program import Constant, Function, Operation
from harness.structure.identities import Draft, passed_on, simplified
from harness.structure.terms import (
    COMMUTATIVE,
    INPUT,
    Fixed,
    Operand,
    Result,
    Source,
    Term,
    TermBlock,
    digest_of,
    plain,
    settings_key,
)

_ORDER: Final = "after"
"""Operand of a term that has an effect: the one that had its effect before."""


def lower_pair(
    expected: Function, constants: ConstantReader, actual: Function, others: ConstantReader
) -> tuple[TermBlock, TermBlock]:
    """Return the terms of two verified functions, with inputs and outputs that belong together.

    Those are known by their names where both functions have the same, and else by their position.
    Operations that the executor doesn't know are taken as they are written.

    Args:
        expected, actual: what to lower.
        constants, others: read the values of their constants.

    Raises:
        PackageError: a constant can't be read.
    """
    one, other = (graph_of(function).block for function in (expected, actual))
    inputs = _keys([value.name for value in one.inputs], [value.name for value in other.inputs])
    outputs = _keys(list(expected.block.outputs), list(actual.block.outputs))
    return (
        _Lowering(one, {}, (), constants.array, inputs[0], outputs[0]).block,
        _Lowering(other, {}, (), others.array, inputs[1], outputs[1]).block,
    )


def _keys(expected: list[str], actual: list[str]) -> tuple[list[str], list[str]]:
    if sorted(expected) == sorted(actual):
        return expected, actual
    return _positions(expected), _positions(actual)


def _positions(items: Sequence[object]) -> list[str]:
    return [str(number) for number in range(len(items))]


class _Lowering:
    """Makes the terms of a block.

    Args:
        block: what to lower.
        sources: what stands for each value so far, of all blocks: values are told by identity.
        place: tells the inputs of the block from those of the blocks around it.
        read: returns the array of a constant.
        input_keys, output_keys: what inputs and outputs are known by.

    Attributes:
        block: the terms.
    """

    def __init__(
        self,
        block: GraphBlock,
        sources: dict[GraphValue, Source],
        place: tuple[int, ...],
        read: ReadArray,
        input_keys: list[str],
        output_keys: list[str],
    ) -> None:
        self._sources, self._place, self._read = sources, place, read
        self._known: dict[bytes, Term] = {}
        terms = [
            Term(i, INPUT, v.name, (), {}, (v.type,), (), digest_of(INPUT, place, key, str(v.type)))
            for i, (v, key) in enumerate(zip(block.inputs, input_keys, strict=True))
        ]
        sources.update((v, Result(t, 0)) for v, t in zip(block.inputs, terms, strict=True))
        self.block = TermBlock(dict(zip(input_keys, terms, strict=True)))
        for node in block.nodes:
            self._add(node)
        returned = map(self._source, block.outputs)
        self.block.outputs.update(zip(output_keys, returned, strict=True))
        self.block.captures = self._captured()

    def _add(self, node: Node) -> None:
        """Add one operation, or nothing where it is an identity or known already."""
        operands, settings = self._inputs(node)
        results = tuple(value.type for value in node.results)
        draft = simplified(Draft(node.operation.type, tuple(operands), settings, results))
        handed = passed_on(draft)
        if handed is not None and not node.blocks:
            self._sources[node.results[0]] = handed
            return
        term = self._term(node, draft)
        for number, value in enumerate(node.results):
            self._sources[value] = Result(term, number)

    def _captured(self) -> tuple[Result, ...]:
        """Return the results of terms outside that the block reads."""
        inside = {*self.block.inputs.values(), *self.block.terms}
        read = [result for term in self.block.terms for result in term.values]
        read += [s for s in self.block.outputs.values() if isinstance(s, Result)]
        return tuple(dict.fromkeys(result for result in read if result.term not in inside))

    def _term(self, node: Node, draft: Draft) -> Term:
        operation = node.operation
        blocks = tuple(
            _Lowering(
                block,
                self._sources,
                (*self._place, number),
                self._read,
                _positions(block.inputs),
                _positions(block.outputs),
            ).block
            for number, block in enumerate(node.blocks)
        )
        operands = draft.operands
        effect = _has_effect(operation, blocks)
        if effect and self.block.last is not None:
            operands = (*operands, Operand(_ORDER, 0, Result(self.block.last, 0)))
        digest = _digest(draft, operands, blocks)
        if not effect and digest in self._known:
            return self._known[digest]
        term = Term(
            index=len(self.block.terms),
            type=draft.type,
            name=node.results[0].name if node.results else operation.name,
            operands=operands,
            settings=draft.settings,
            results=draft.results,
            blocks=blocks,
            digest=digest,
        )
        self.block.terms.append(term)
        self._known[digest] = term
        if effect:
            self.block.last = term
        return term

    def _inputs(self, node: Node) -> tuple[list[Operand], dict[str, Any]]:
        """Return what an operation reads, and its parameters that are plain values."""
        operation = node.operation
        known = _definition(operation.type)
        operands: list[Operand] = []
        settings = _attributes(operation)
        for name in sorted(node.reads):
            parameter = known.parameters.get(name) if known else None
            sources = [self._source(value) for value in node.reads[name]]
            fixed = [source.constant for source in sources if isinstance(source, Fixed)]
            if len(fixed) == len(sources) > 0 and _is_setting(parameter, fixed):
                what = f"operation {operation}: input {name!r}"
                settings[name] = (
                    literal_of(fixed, parameter.kind, self._read, what)
                    if parameter is not None
                    else tuple(map(plain, fixed))
                )
            else:
                operands += [Operand(name, i, source) for i, source in enumerate(sources)]
        if known is not None:
            _add_defaults(settings, known, operands)
        return operands, settings

    def _source(self, value: GraphValue) -> Source:
        if value not in self._sources and value.constant is not None:
            self._sources[value] = Fixed(value.constant, self._read)
        return self._sources[value]


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
        name, default = parameter.name, parameter.default
        if name in settings or name in bound or parameter.kind.is_value or default is None:
            continue
        # As the executor takes it: a number in the type of the first tensor.
        number = parameter.kind is ParameterKind.FLOAT
        settings[name] = in_type_of(default, first) if number else default


def _has_effect(operation: Operation, blocks: tuple[TermBlock, ...]) -> bool:
    known = _definition(operation.type)
    writes = known is not None and known.effect is Effect.WRITE
    inside = any(block.last is not None for block in blocks)
    return (
        writes or inside or operation.type == "read_state" or operation.type.startswith("random_")
    )


def _digest(draft: Draft, operands: tuple[Operand, ...], blocks: tuple[TermBlock, ...]) -> bytes:
    if draft.type in COMMUTATIVE:
        read: list[Any] = sorted(operand.source.digest for operand in operands)
    else:
        read = [(operand.place, operand.source.digest) for operand in operands]
    results = [str(type_) for type_ in draft.results]
    inner = [block.digest for block in blocks]
    return digest_of(draft.type, settings_key(draft.settings), read, results, inner)
