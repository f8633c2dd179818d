"""Reads the differences off two matched blocks, and off the blocks inside their operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from harness.mil.types import TensorType, ValueType
from harness.structure.differences import (
    Places,
    ProgramChange,
    ProgramDifference,
    compare_constants,
    described,
    setting_text,
)
from harness.structure.matching import Matching, paired, shared
from harness.structure.search import match_operations
from harness.structure.severity import Disturbance
from harness.structure.terms import INPUT, Fixed, Operand, Result, Source, Term, TermBlock, every

_NOTHING = "nothing"


class Reader:
    """Matches and compares block by block.

    Args:
        places: module paths of the expected program.

    Attributes:
        differences: what was found, in the order of the expected program.
        counts: operations matched, missing and inserted so far.
    """

    def __init__(self, places: Places) -> None:
        self._places, self.matching = places, Matching()
        self.differences: list[ProgramDifference] = []
        self.counts = {"matched": 0, "missing": 0, "inserted": 0}

    def read(self, expected: TermBlock, actual: TermBlock, owner: str) -> None:
        """Compare two blocks; ``owner`` says of what, for people."""
        matching = self.matching
        match_operations(matching, expected, actual)
        live, live_there = expected.live(), actual.live()
        missing = [n for n in expected.terms if n in live and matching.actual(n) is None]
        inserted = [n for n in actual.terms if n in live_there and matching.expected(n) is None]
        pairs = [(n, o) for n in expected.terms if (o := matching.actual(n)) is not None]
        self.counts["matched"] += len(pairs)
        self.counts["missing"] += len(missing)
        self.counts["inserted"] += len(inserted)
        disturbance = Disturbance(matching, missing, inserted, expected, actual)
        say = partial(ProgramDifference, owner, "", None)
        self._inputs(say, expected, actual)
        for term, other in pairs:
            found = [*self._pair(term, other)] if term in live else []
            severity = disturbance.of_pair(term, other, found)
            self.differences += [replace(item, severity=severity) for item in found]
            self._blocks(term, other)
        for term in missing:
            self._unmatched(ProgramChange.MISSING, term, self._places.of(term), disturbance)
        for term in inserted:
            self._unmatched(ProgramChange.INSERTED, term, self._beside(term, actual), disturbance)
        self._outputs(say, expected, actual)

    def _blocks(self, term: Term, other: Term) -> None:
        """Compare the blocks of two matched operations, unless they are the same throughout."""
        if term.digest == other.digest:
            self.counts["matched"] += sum(1 for block in term.blocks for _ in every(block))
            return
        for number, (one, two) in enumerate(zip(term.blocks, other.blocks, strict=False)):
            self.read(one, two, f"block {number} of {term.type} {term.name!r}")

    def _unmatched(
        self, kind: ProgramChange, term: Term, module: str | None, disturbance: Disturbance
    ) -> None:
        expected, actual = ("it", _NOTHING) if kind is ProgramChange.MISSING else (_NOTHING, "it")
        say = _saying(term, module)
        self.differences.append(say(kind, "", expected, actual, severity=disturbance.of_node(term)))

    def _beside(self, term: Term, actual: TermBlock) -> str | None:
        """Return the module of the nearest matched operation that an inserted one reads."""
        waiting, seen = [term], {term}
        while waiting:
            for value in waiting.pop(0).values:
                known = self.matching.expected(value.term)
                if known is not None and known.type != INPUT:
                    return self._places.of(known)
                if known is None and value.term not in seen:
                    seen.add(value.term)
                    waiting.append(value.term)
        for reader, _ in actual.readers().get(term, ()):
            known = self.matching.expected(reader)
            if known is not None:
                return self._places.of(known)
        return None

    def _pair(self, term: Term, other: Term) -> Iterator[ProgramDifference]:
        """Yield how two matched operations differ."""
        say = _saying(term, self._places.of(term))
        if term.type != other.type:
            yield say(ProgramChange.OPERATION, "", term.type, other.type)
        else:
            for name in sorted({*term.settings, *other.settings}):
                one, two = term.settings.get(name), other.settings.get(name)
                if repr(one) != repr(two):
                    texts = (_NOTHING if v is None else setting_text(v) for v in (one, two))
                    yield say(ProgramChange.ATTRIBUTE, name.removeprefix("attribute "), *texts)
        pairs = paired(term, other, self.matching)
        for left, right in pairs:
            yield from self._operands(say, left, right)
        if len(term.results) != len(other.results) or len(term.blocks) != len(other.blocks):
            yield say(ProgramChange.OPERATION, "", _parts(term), _parts(other))
        yield from _results(say, term, other, pairs)

    def _operands(
        self, say: _Saying, left: Operand | None, right: Operand | None
    ) -> Iterator[ProgramDifference]:
        if left is None or right is None:
            given = left or right
            assert given is not None  # a pair has at least one side
            here = self._places.origin(left.source) if left else _NOTHING
            there = self._origin(right.source) if right else _NOTHING
            kind = (
                ProgramChange.ATTRIBUTE if isinstance(given.source, Fixed) else ProgramChange.INPUT
            )
            yield say(kind, given.parameter, here, there)
        elif isinstance(left.source, Fixed) and isinstance(right.source, Fixed):
            yield from _constants(say, left.parameter, left.source, right.source)
        elif not self._agree(left.source, right.source):
            here, there = self._places.origin(left.source), self._origin(right.source)
            yield say(ProgramChange.INPUT, left.parameter, here, there)

    def _origin(self, source: Source) -> str:
        """Return where an actual operand comes from, in the words of the expected program."""
        if isinstance(source, Result):
            known = self.matching.expected(source.term)
            if known is not None and source.number < len(known.results):
                return self._places.origin(Result(known, source.number))
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

    def _inputs(self, say: _Saying, expected: TermBlock, actual: TermBlock) -> None:
        for key in dict.fromkeys((*expected.inputs, *actual.inputs)):
            types = [
                str(inputs[key].results[0]) if key in inputs else _NOTHING
                for inputs in (expected.inputs, actual.inputs)
            ]
            if types[0] != types[1]:
                self.differences.append(say(ProgramChange.INTERFACE, f"input {key}", *types))

    def _outputs(self, say: _Saying, expected: TermBlock, actual: TermBlock) -> None:
        if len(expected.outputs) != len(actual.outputs):
            counts = (f"{len(block.outputs)} outputs" for block in (expected, actual))
            self.differences.append(say(ProgramChange.INTERFACE, "outputs", *counts))
        for key, one, other in shared(expected.outputs, actual.outputs):
            if isinstance(one, Fixed) and isinstance(other, Fixed):
                self.differences += _constants(say, key, one, other)
            elif not self._agree(one, other):
                here, there = self._places.origin(one), self._origin(other)
                self.differences.append(say(ProgramChange.OUTPUT, key, here, there))


_Saying: TypeAlias = Callable[..., ProgramDifference]
"""Makes the differences of one operation, of its kind, parameter, expected, actual and more."""


def _saying(term: Term, module: str | None) -> _Saying:
    return partial(ProgramDifference, term.name, term.type, module)


def _constants(
    say: _Saying, parameter: str, one: Fixed, other: Fixed
) -> Iterator[ProgramDifference]:
    if one.type != other.type:
        yield _retyped(say, parameter, one.type, other.type)
    elif one.digest != other.digest:
        yield say(ProgramChange.CONSTANT, parameter, **compare_constants(one, other))


def _results(
    say: _Saying, term: Term, other: Term, pairs: list[tuple[Operand | None, Operand | None]]
) -> Iterator[ProgramDifference]:
    """Yield how the declared results differ, unless that follows from how the operands do."""
    follows = [
        left.source.type != right.source.type
        for left, right in pairs
        if left and right and isinstance(left.source, Result) and isinstance(right.source, Result)
    ]
    if any(follows):
        return
    for one, two in zip(term.results, other.results, strict=False):
        if one != two:
            yield _retyped(say, "result", one, two)


def _retyped(say: _Saying, parameter: str, one: ValueType, two: ValueType) -> ProgramDifference:
    same_shape = (
        isinstance(one, TensorType) and isinstance(two, TensorType) and one.shape == two.shape
    )
    return say(
        ProgramChange.DTYPE if same_shape else ProgramChange.SHAPE, parameter, str(one), str(two)
    )


def _parts(term: Term) -> str:
    return f"{len(term.results)} results and {len(term.blocks)} blocks"


def _behind(source: Source, counterpart: Callable[[Term], Term | None]) -> list[Source]:
    """Return the sources that a source leads back to, past unmatched operations."""
    found: list[Source] = []
    waiting, seen = [source], set[Term]()
    while waiting:
        current = waiting.pop()
        if isinstance(current, Fixed) or counterpart(current.term) is not None:
            found.append(current)
        elif current.term not in seen:
            seen.add(current.term)
            waiting += [operand.source for operand in current.term.operands]
    return found
