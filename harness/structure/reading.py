"""Reads the differences off two matched scopes, and off the scopes inside their operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from harness.mil.types import TensorType, ValueType
from harness.structure.differences import (
    Difference,
    Kind,
    Places,
    compare_constants,
    described,
    setting_text,
)
from harness.structure.matching import Matching, paired, shared
from harness.structure.search import match_operations
from harness.structure.severity import Disturbance
from harness.structure.terms import INPUT, Fixed, Node, Operand, Scope, Source, Value, every

_NOTHING = "nothing"


class Reader:
    """Matches and compares scope by scope.

    Args:
        places: module paths of the expected program.

    Attributes:
        differences: what was found, in the order of the expected program.
        counts: operations matched, missing and inserted so far.
    """

    def __init__(self, places: Places) -> None:
        self._places, self.matching = places, Matching()
        self.differences: list[Difference] = []
        self.counts = {"matched": 0, "missing": 0, "inserted": 0}

    def read(self, expected: Scope, actual: Scope, owner: str) -> None:
        """Compare two scopes; ``owner`` says of what, for people."""
        matching = self.matching
        match_operations(matching, expected, actual)
        live, live_there = expected.live(), actual.live()
        missing = [n for n in expected.nodes if n in live and matching.actual(n) is None]
        inserted = [n for n in actual.nodes if n in live_there and matching.expected(n) is None]
        pairs = [(n, o) for n in expected.nodes if (o := matching.actual(n)) is not None]
        self.counts["matched"] += len(pairs)
        self.counts["missing"] += len(missing)
        self.counts["inserted"] += len(inserted)
        disturbance = Disturbance(matching, missing, inserted, expected, actual)
        self._inputs(expected, actual, owner)
        for node, other in pairs:
            found = [*self._pair(node, other)] if node in live else []
            severity = disturbance.of_pair(node, other, found)
            self.differences += [replace(item, severity=severity) for item in found]
            self._blocks(node, other)
        for node in missing:
            self._unmatched(Kind.MISSING, node, self._places.of(node), disturbance)
        for node in inserted:
            self._unmatched(Kind.INSERTED, node, self._beside(node, actual), disturbance)
        self._outputs(expected, actual, owner)

    def _blocks(self, node: Node, other: Node) -> None:
        """Compare the blocks of two matched operations, unless they are the same throughout."""
        if node.digest == other.digest:
            self.counts["matched"] += sum(1 for scope in node.scopes for _ in every(scope))
            return
        for number, (one, two) in enumerate(zip(node.scopes, other.scopes, strict=False)):
            self.read(one, two, f"block {number} of {node.type} {node.name!r}")

    def _unmatched(
        self, kind: Kind, node: Node, module: str | None, disturbance: Disturbance
    ) -> None:
        expected, actual = ("it", _NOTHING) if kind is Kind.MISSING else (_NOTHING, "it")
        say = _Saying(node, module)
        self.differences.append(say(kind, "", expected, actual, severity=disturbance.of_node(node)))

    def _beside(self, node: Node, actual: Scope) -> str | None:
        """Return the module of the nearest matched operation that an inserted one reads."""
        waiting, seen = [node], {node}
        while waiting:
            for value in waiting.pop(0).values:
                known = self.matching.expected(value.node)
                if known is not None and known.type != INPUT:
                    return self._places.of(known)
                if known is None and value.node not in seen:
                    seen.add(value.node)
                    waiting.append(value.node)
        for reader, _ in actual.readers().get(node, ()):
            known = self.matching.expected(reader)
            if known is not None:
                return self._places.of(known)
        return None

    def _pair(self, node: Node, other: Node) -> Iterator[Difference]:
        """Yield how two matched operations differ."""
        say = _Saying(node, self._places.of(node))
        if node.type != other.type:
            yield say(Kind.OPERATION, "", node.type, other.type)
        else:
            for name in sorted({*node.settings, *other.settings}):
                one, two = node.settings.get(name), other.settings.get(name)
                if repr(one) != repr(two):
                    texts = (_NOTHING if v is None else setting_text(v) for v in (one, two))
                    yield say(Kind.ATTRIBUTE, name.removeprefix("attribute "), *texts)
        pairs = paired(node, other, self.matching)
        for left, right in pairs:
            yield from self._operands(say, left, right)
        if len(node.results) != len(other.results) or len(node.scopes) != len(other.scopes):
            yield say(Kind.OPERATION, "", _parts(node), _parts(other))
        yield from _results(say, node, other, pairs)

    def _operands(
        self, say: _Saying, left: Operand | None, right: Operand | None
    ) -> Iterator[Difference]:
        if left is None or right is None:
            given = left or right
            assert given is not None  # a pair has at least one side
            here = self._places.origin(left.source) if left else _NOTHING
            there = self._origin(right.source) if right else _NOTHING
            kind = Kind.ATTRIBUTE if isinstance(given.source, Fixed) else Kind.INPUT
            yield say(kind, given.parameter, here, there)
        elif isinstance(left.source, Fixed) and isinstance(right.source, Fixed):
            yield from _constants(say, left, right.source)
        elif not self._agree(left.source, right.source):
            here, there = self._places.origin(left.source), self._origin(right.source)
            yield say(Kind.INPUT, left.parameter, here, there)

    def _origin(self, source: Source) -> str:
        """Return where an actual operand comes from, in the words of the expected program."""
        if isinstance(source, Value):
            known = self.matching.expected(source.node)
            if known is not None and source.number < len(known.results):
                return self._places.origin(Value(known, source.number))
        return described(source)

    def _agree(self, left: Source, right: Source) -> bool:
        """Whether two operands are one but for operations missing or inserted in front of them.

        What lies behind those on either side must meet: an operation that reads something else
        than what was put in or left out accounts for is rewired.
        """
        if self.matching.agree(left, right):
            return True
        here = _behind(left, self.matching.actual)
        there = _behind(right, self.matching.expected)
        crossed = left not in here or right not in there
        return crossed and any(self.matching.agree(one, two) for one in here for two in there)

    def _inputs(self, expected: Scope, actual: Scope, owner: str) -> None:
        for key in dict.fromkeys((*expected.inputs, *actual.inputs)):
            types = [
                str(inputs[key].results[0]) if key in inputs else _NOTHING
                for inputs in (expected.inputs, actual.inputs)
            ]
            if types[0] != types[1]:
                self._interface(owner, f"input {key}", *types)

    def _outputs(self, expected: Scope, actual: Scope, owner: str) -> None:
        if len(expected.outputs) != len(actual.outputs):
            counts = (f"{len(scope.outputs)} outputs" for scope in (expected, actual))
            self._interface(owner, "outputs", *counts)
        for key, one, other in shared(expected.outputs, actual.outputs):
            if isinstance(one, Fixed) and isinstance(other, Fixed):
                say = _Saying(None, None, owner)
                self.differences += _constants(say, Operand(key, 0, one), other)
            elif not self._agree(one, other):
                here, there = self._places.origin(one), self._origin(other)
                found = Difference(Kind.OUTPUT, owner, "", None, key, here, there)
                self.differences.append(found)

    def _interface(self, owner: str, what: str, expected: str, actual: str) -> None:
        found = Difference(Kind.INTERFACE, owner, "", None, what, expected, actual)
        self.differences.append(found)


class _Saying:
    """Makes the differences of one operation."""

    def __init__(self, node: Node | None, module: str | None, owner: str = "") -> None:
        self._name = node.name if node else owner
        self._type, self._module = node.type if node else "", module

    def __call__(
        self, kind: Kind, parameter: str, expected: str, actual: str, **more: Any
    ) -> Difference:
        return Difference(
            kind, self._name, self._type, self._module, parameter, expected, actual, **more
        )


def _constants(say: _Saying, left: Operand, other: Fixed) -> Iterator[Difference]:
    one = left.source
    assert isinstance(one, Fixed)  # the caller saw to it
    if one.digest == other.digest:
        return
    if one.type != other.type:
        yield _retyped(say, left.parameter, one.type, other.type)
        return
    said = compare_constants(one, other)
    yield say(Kind.CONSTANT, left.parameter, **said)


def _results(
    say: _Saying, node: Node, other: Node, pairs: list[tuple[Operand | None, Operand | None]]
) -> Iterator[Difference]:
    """Yield how the declared results differ, unless that follows from how the operands do."""
    follows = [
        left.source.type != right.source.type
        for left, right in pairs
        if left and right and isinstance(left.source, Value) and isinstance(right.source, Value)
    ]
    if any(follows):
        return
    for one, two in zip(node.results, other.results, strict=False):
        if one != two:
            yield _retyped(say, "result", one, two)


def _retyped(say: _Saying, parameter: str, one: ValueType, two: ValueType) -> Difference:
    same_shape = (
        isinstance(one, TensorType) and isinstance(two, TensorType) and one.shape == two.shape
    )
    return say(Kind.DTYPE if same_shape else Kind.SHAPE, parameter, str(one), str(two))


def _parts(node: Node) -> str:
    return f"{len(node.results)} results and {len(node.scopes)} blocks"


def _behind(source: Source, counterpart: Callable[[Node], Node | None]) -> list[Source]:
    """Return the sources that a source leads back to, past unmatched operations."""
    found: list[Source] = []
    waiting, seen = [source], set[Node]()
    while waiting:
        current = waiting.pop()
        if isinstance(current, Fixed) or counterpart(current.node) is not None:
            found.append(current)
        elif current.node not in seen:
            seen.add(current.node)
            waiting += [operand.source for operand in current.node.operands]
    return found
