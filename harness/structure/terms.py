"""A program as terms, which say what it computes and not how that is written down.

Names, places in the program and weight files are gone: an operation reads *sources*, each the
result of a term or a constant, and it is told from others by its digest alone. That is a Merkle
hash: of its type, its settings (parameters that are plain values: an axis, an epsilon, a mode), its
declared results and the digests of all that it reads. So two values with one digest are computed in
one way from the inputs on, whatever they are called.

`harness.structure.lowering` makes terms of `harness.mil.graph`; nothing here reads a package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np

from harness.mil.program import Constant
from harness.mil.types import TensorType, TupleType, ValueType

COMMUTATIVE: Final = frozenset(
    {
        "add", "mul", "maximum", "minimum", "equal", "not_equal", "logical_and", "logical_or",
        "logical_xor",
    }
)  # fmt: skip
"""Types whose operands ``x`` and ``y`` may change places: each gives the same bits either way."""

INPUT: Final = "input"
"""Type of the terms that stand for a function's or a block's inputs."""


@dataclass(frozen=True, eq=False)
class Fixed:
    """A constant tensor that an operation reads; ``read`` returns its array."""

    constant: Constant
    read: Callable[[Constant], np.ndarray]

    @property
    def type(self) -> ValueType:
        """Declared type."""
        return self.constant.type

    @property
    def array(self) -> np.ndarray:
        """Its numbers, in the declared shape; not to be written to."""
        return self.read(self.constant)

    @cached_property
    def digest(self) -> bytes:
        """Of type and bits: constants are equal if they are bit for bit."""
        value = self.constant.value
        if isinstance(value, str | tuple | dict):
            return digest_of("text", str(self.type), plain(value))
        hashed = hashlib.blake2b(str(self.type).encode(), digest_size=16)
        hashed.update(np.ascontiguousarray(self.array).reshape(-1).view(np.uint8).data)
        return hashed.digest()

    def holds_only(self, number: float) -> bool:
        """Whether every element is ``number``."""
        if not isinstance(self.type, TensorType) or isinstance(self.constant.value, str | tuple):
            return False
        array = self.array
        first = array.reshape(-1)[:1]
        return bool((first == number).all()) and bool((array == number).all())


@dataclass(frozen=True)
class Result:
    """One result of a term."""

    term: Term
    number: int

    @property
    def type(self) -> ValueType:
        """Declared type; an empty tuple for the effect of a write, which others wait for."""
        results = self.term.results
        return results[self.number] if self.number < len(results) else TupleType(())

    @property
    def digest(self) -> bytes:
        """Of the term, and which of its results this is."""
        return digest_of(self.term.digest, self.number)


Source: TypeAlias = Result | Fixed


@dataclass(frozen=True)
class Operand:
    """What an operation reads as ``parameter``; ``position`` counts where it takes several."""

    parameter: str
    position: int
    source: Source

    @property
    def place(self) -> tuple[str, int]:
        """What tells it from the operation's other operands."""
        return self.parameter, self.position


@dataclass(frozen=True, eq=False)
class Term:
    """An operation, or an input of a function or block.

    Attributes:
        index: its place among the terms of its block, in program order.
        type: MIL operation type, or `INPUT`.
        name: of its first result as the program spells it; for people.
        operands: what it reads.
        settings: parameters that are plain Python values, defaults included.
        results: declared type of each result.
        blocks: its blocks.
        digest: see the module.
    """

    index: int
    type: str
    name: str
    operands: tuple[Operand, ...]
    settings: Mapping[str, Any]
    results: tuple[ValueType, ...]
    blocks: tuple[TermBlock, ...]
    digest: bytes

    @property
    def values(self) -> tuple[Result, ...]:
        """The results of other terms that it reads, those that its blocks read included."""
        own = [o.source for o in self.operands if isinstance(o.source, Result)]
        return (*own, *(value for block in self.blocks for value in block.captures))

    @cached_property
    def local(self) -> bytes:
        """Digest of all that belongs to the term alone: not whose results it reads."""
        fixed = [
            (() if self.type in COMMUTATIVE else o.place, o.source.digest)
            for o in self.operands
            if isinstance(o.source, Fixed)
        ]
        read = len(self.operands) - len(fixed)
        shape = [str(type_) for type_ in self.results]
        return digest_of(self.type, settings_key(self.settings), fixed, read, shape)


@dataclass(eq=False)
class TermBlock:
    """A function's block, or one inside an operation.

    Attributes:
        inputs: a term of type `INPUT` for each, by what it is known by in both programs.
        terms: all operations in program order, without inputs.
        outputs: what it returns, likewise.
        captures: results of terms outside that operations inside read.
        last: the last term that changes or reads a state, if there is one.
    """

    inputs: Mapping[str, Term]
    terms: list[Term] = field(default_factory=list)
    outputs: dict[str, Source] = field(default_factory=dict)
    captures: tuple[Result, ...] = ()
    last: Term | None = None

    @property
    def digest(self) -> bytes:
        """Of what it takes and returns, and of what it does to states."""
        taken = sorted((name, term.digest) for name, term in self.inputs.items())
        returned = sorted((name, source.digest) for name, source in self.outputs.items())
        return digest_of("block", taken, returned, self.last.digest if self.last else None)

    def readers(self) -> dict[Term, list[tuple[Term, Operand]]]:
        """Return which terms of this block read each term, and as what."""
        found: dict[Term, list[tuple[Term, Operand]]] = {}
        for term in self.terms:
            for operand in term.operands:
                if isinstance(operand.source, Result):
                    found.setdefault(operand.source.term, []).append((term, operand))
        return found

    def live(self) -> set[Term]:
        """Return the terms that what the block returns, or a state, depends on."""
        waiting = [s.term for s in self.outputs.values() if isinstance(s, Result)]
        waiting += [self.last] if self.last else []
        found: set[Term] = set()
        while waiting:
            term = waiting.pop()
            if term not in found:
                found.add(term)
                waiting += [value.term for value in term.values]
        return found


def digest_of(*parts: object) -> bytes:
    """Return what tells plain values apart: numbers, texts, bytes, and lists and tuples of them."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


def settings_key(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return settings as something that is equal exactly where they are: -0.0 is not 0.0."""
    return tuple((name, repr(settings[name])) for name in sorted(settings))


def plain(value: object) -> object:
    """Return the value of a constant that is no tensor of numbers as plain Python values."""
    if isinstance(value, Constant):
        return plain(value.value)
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return tuple((plain(key), plain(held)) for key, held in value.items())
    return value.tolist() if isinstance(value, np.ndarray) else value


def every(block: TermBlock) -> Iterator[Term]:
    """Yield all operations of ``block``, those inside blocks included."""
    for term in block.terms:
        yield term
        for inner in term.blocks:
            yield from every(inner)
