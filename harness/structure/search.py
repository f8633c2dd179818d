"""Matches the operations of two blocks from what is matched already outwards, best evidence first.

A pair is looked at as soon as a neighbour of it is matched, and its score says how sure the match
is. An operation with the same settings and constants that reads results matched to each other is
certain, and one that is read alike by matched operations nearly so; then come operations of one
type between the same neighbours, whose settings or constants changed; then another type between the
same neighbours; last operations that are the same across one that was put in or left out. So one
changed setting leaves one operation changed, and not all that comes after it.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import Final

from harness.mil.types import TensorType, ValueType
from harness.structure.matching import Matching, Pairing, paired, shared
from harness.structure.terms import (
    COMMUTATIVE,
    INPUT,
    Fixed,
    Operand,
    Result,
    Source,
    Term,
    TermBlock,
    settings_key,
)

# How sure a match is, see the module; 0 is none.
_SAME_AND_READS_THE_SAME: Final = 1000
_SAME_AND_READ_ALIKE: Final = 900
_CHANGED_BETWEEN_THE_SAME: Final = 850
_CHANGED_AND_READS_THE_SAME: Final = 750
_OTHER_TYPE_BETWEEN_THE_SAME: Final = 700
_SAME_TYPE_BESIDE_THE_SAME: Final = 600
_SAME_BUT_ONE_OF_SEVERAL: Final = 500
_ACROSS_ONE: Final = 400
_ANOTHER_SHAPE: Final = 300
_MOST: Final = 9  # what counting may add to one of these


def match_operations(matching: Matching, expected: TermBlock, actual: TermBlock) -> None:
    """Match the operations of two blocks, but not those inside their blocks.

    Args:
        matching: gets the pairs; what is matched already stays so, the blocks around these first.
        expected, actual: the blocks.
    """
    matching.add_equal(expected, actual)
    _MatchSearch(matching, expected, actual).run()


class _MatchSearch:
    def __init__(self, matching: Matching, expected: TermBlock, actual: TermBlock) -> None:
        self._matching = matching
        self._expected, self._actual = expected, actual
        self._readers, self._readers_there = expected.readers(), actual.readers()
        self._heap: list[tuple[int, int, int, Term, Term]] = []
        self._returned = {
            (one.term, other.term)
            for _, one, other in shared(expected.outputs, actual.outputs)
            if isinstance(one, Result) and isinstance(other, Result) and one.number == other.number
        }

    def run(self) -> None:
        """Match until nothing is left that has evidence."""
        outside = [value.term for value in self._expected.captures]
        for term in dict.fromkeys(
            (*self._expected.inputs.values(), *outside, *self._expected.terms)
        ):
            other = self._matching.actual(term)
            if other is not None:
                self._look_around(term, other)
        for one, other in self._returned:
            self._look_at(one, other)
        self._look_at_sources()
        while self._heap:
            negative, _, _, one, other = heapq.heappop(self._heap)
            if not self._matching.is_free(one, other):
                continue
            score = self._score(one, other)
            if score < -negative:  # a neighbour was matched to something else in the meantime
                self._look_at(one, other)
                continue
            self._matching.add(one, other)
            self._look_around(one, other)

    def _look_at(self, one: Term, other: Term) -> None:
        if INPUT in (one.type, other.type) or not self._matching.is_free(one, other):
            return
        score = self._score(one, other)
        if score:
            heapq.heappush(self._heap, (-score, one.index, other.index, one, other))

    def _look_at_sources(self) -> None:
        """Look at terms that read no other term: nothing leads to them forwards."""
        starts = [term for term in self._actual.terms if not term.values]
        for one in self._expected.terms:
            if not one.values:
                for other in starts:
                    if other.local == one.local:
                        self._look_at(one, other)

    def _look_around(self, one: Term, other: Term) -> None:
        """Look at the pairs of neighbours of a matched pair, and across one neighbour."""
        here, there = self._readers.get(one, []), self._readers_there.get(other, [])
        for reader, operand in here:
            for counterpart, operand_there in there:
                if _read_alike(reader, operand, counterpart, operand_there):
                    self._look_at(reader, counterpart)
        for left, right in _crossed(one, other, self._matching):
            if (
                isinstance(left, Result)
                and isinstance(right, Result)
                and left.number == right.number
            ):
                self._look_at(left.term, right.term)
        self._look_across([r for r, _ in here], [r for r, _ in there])

    def _look_across(self, here: list[Term], there: list[Term]) -> None:
        """Look at readers of one side's unmatched readers beside the other side's readers."""
        beyond = [r for n in here if not self._matching.actual(n) for r in _of(self._readers, n)]
        beyond_there = [
            r for n in there if not self._matching.expected(n) for r in _of(self._readers_there, n)
        ]
        pairs = itertools.chain(
            itertools.product(beyond, there), itertools.product(here, beyond_there)
        )
        for left, right in pairs:
            if left.type == right.type:
                self._look_at(left, right)

    def _score(self, one: Term, other: Term) -> int:
        """Return how sure it is that two terms are one operation; 0: there is no evidence."""
        pairs = [
            pair
            for pair in paired(one, other, self._matching)
            if any(operand and isinstance(operand.source, Result) for operand in pair)
        ]
        agreeing = sum(_agrees(pair, self._matching) for pair in pairs)
        reads_the_same = agreeing == len(pairs)
        readers, ambiguous = self._common_readers(one, other)
        same_shape = _shapes(one.results) == _shapes(other.results)
        if one.type != other.type:
            between = bool(pairs) and reads_the_same and readers > 0 and same_shape
            return _OTHER_TYPE_BETWEEN_THE_SAME if between else 0
        if one.local == other.local and reads_the_same:
            return _SAME_AND_READS_THE_SAME
        count = min(agreeing + readers, _MOST)
        if one.local == other.local and readers:
            return (_SAME_BUT_ONE_OF_SEVERAL if ambiguous else _SAME_AND_READ_ALIKE) + count
        if same_shape:
            return self._score_changed(one, other, pairs, agreeing, readers, ambiguous)
        return _ANOTHER_SHAPE + count if pairs and (reads_the_same or readers) else 0

    def _score_changed(
        self, one: Term, other: Term, pairs: Pairing, agreeing: int, readers: int, ambiguous: bool
    ) -> int:
        """Return the score of two terms of one type and shape that differ in something else."""
        alike = min(_count_alike(one, other), _MOST)
        if pairs and agreeing == len(pairs):
            return (_CHANGED_BETWEEN_THE_SAME if readers else _CHANGED_AND_READS_THE_SAME) + alike
        if agreeing or (readers and not ambiguous):
            return _SAME_TYPE_BESIDE_THE_SAME + 10 * min(agreeing + readers, _MOST) + alike
        return _ACROSS_ONE + alike if self._agrees_across(pairs) else 0

    def _common_readers(self, one: Term, other: Term) -> tuple[int, bool]:
        """Return how many matched pairs read both alike, and whether it could be another's turn."""
        count, ambiguous = int((one, other) in self._returned), False
        for reader, operand in self._readers.get(one, ()):
            counterpart = self._matching.actual(reader)
            for candidate, operand_there in self._readers_there.get(other, ()):
                if candidate is counterpart and _read_alike(
                    reader, operand, candidate, operand_there
                ):
                    count += 1
                    ambiguous |= self._has_twin(one, reader)
        return count, ambiguous

    def _has_twin(self, term: Term, reader: Term) -> bool:
        """Whether an operation with commuting operands reads another unmatched term just alike."""
        return reader.type in COMMUTATIVE and any(
            value.term is not term
            and value.term.local == term.local
            and self._matching.actual(value.term) is None
            for value in reader.values
        )

    def _agrees_across(self, pairs: Pairing) -> bool:
        """Whether an operand agrees with what an unmatched operation before the other reads."""
        for left, right in pairs:
            if left is None or right is None:
                continue
            one, other = left.source, right.source
            before = _before(one, self._matching.actual)
            before_there = _before(other, self._matching.expected)
            if any(self._matching.agree(source, other) for source in before):
                return True
            if any(self._matching.agree(one, source) for source in before_there):
                return True
        return False


def _of(readers: dict[Term, list[tuple[Term, Operand]]], term: Term) -> list[Term]:
    return [reader for reader, _ in readers.get(term, ())]


def _read_alike(reader: Term, operand: Operand, other: Term, operand_there: Operand) -> bool:
    """Whether two operations read something as the same operand; those that commute are one."""
    if reader.type in COMMUTATIVE and other.type in COMMUTATIVE:
        return True
    return operand.place == operand_there.place and _number(operand) == _number(operand_there)


def _number(operand: Operand) -> int:
    return operand.source.number if isinstance(operand.source, Result) else -1


def _crossed(one: Term, other: Term, matching: Matching) -> Iterable[tuple[Source, Source]]:
    """Return the sources that two matched terms may have in common."""
    if one.type in COMMUTATIVE and other.type in COMMUTATIVE:
        return ((a.source, b.source) for a in one.operands for b in other.operands)
    return ((a.source, b.source) for a, b in paired(one, other, matching) if a and b)


def _agrees(pair: tuple[Operand | None, Operand | None], matching: Matching) -> bool:
    left, right = pair
    return left is not None and right is not None and matching.agree(left.source, right.source)


def _before(source: Source, counterpart: Callable[[Term], Term | None]) -> tuple[Source, ...]:
    """Return what an unmatched operation reads that makes a source."""
    if isinstance(source, Fixed) or counterpart(source.term) is not None:
        return ()
    return tuple(operand.source for operand in source.term.operands)


def _shapes(results: Iterable[ValueType]) -> list[object]:
    """Return shapes without element types, which a precision may change everywhere."""
    return [type_.shape if isinstance(type_, TensorType) else type_ for type_ in results]


def _count_alike(one: Term, other: Term) -> int:
    """Return how many settings and constants two terms have in common."""
    settings = {*settings_key(one.settings)} & {*settings_key(other.settings)}
    there = {o.place: o.source for o in other.operands}
    return len(settings) + sum(
        isinstance(o.source, Fixed)
        and isinstance(found := there.get(o.place), Fixed)
        and found.digest == o.source.digest
        for o in one.operands
    )
