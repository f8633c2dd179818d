"""Types and values of MIL text, and the lists of things between commas that all rules share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from harness.errors import PackageError
from harness.mil.program import BlobReference, Constant
from harness.mil.text.lexer import Lexer
from harness.mil.text.literals import Items, Number, Raw, Text, Truth, constant
from harness.mil.types import (
    MAX_RANK,
    DataType,
    DictionaryType,
    ListType,
    StateType,
    TensorType,
    TupleType,
    ValueType,
)

# No program nests types, literals or blocks nearly as deeply.
_MAX_DEPTH = 32
_MAX_SIZE = 1 << 62

_Item = TypeVar("_Item")


class ValueParser:
    """Reads types and values; a parser of programs stands on it.

    Every method reads one rule of the grammar in `harness.mil.text.parser` from the current token
    on, and raises PackageError where the text is none of it.
    """

    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self.depth = 0

    def attributes(self) -> dict[str, Constant]:
        """Return the attributes in brackets, none where there are no brackets."""
        return self.named(self.value, "]") if self.lexer.accept("[") else {}

    def value(self) -> Constant:
        """Return a value: its type, and its literal in parentheses."""
        return self.value_after(self.lexer.word("a value"))

    def value_after(self, word: str) -> Constant:
        """Return a value whose type begins with ``word``, which was read already."""
        type = self.type_after(word)
        self.lexer.expect("(")
        if self.lexer.accept("BLOBFILE"):
            return self._blob(type)
        if self.lexer.accept(")"):
            return self._constant(type, Items())
        literal = self._literal()
        self.lexer.expect(")")
        return self._constant(type, literal)

    def _constant(self, type: ValueType, literal: Raw) -> Constant:
        try:
            return constant(type, literal)
        except PackageError as error:
            self.lexer.refuse(str(error))

    def _blob(self, type: ValueType) -> Constant:
        self.lexer.expect("(")
        where = self.named(self.value, ")")
        self.lexer.expect(")")
        path, offset = where.get("path"), where.get("offset")
        if len(where) != 2 or path is None or offset is None:
            self.lexer.refuse("BLOBFILE needs a path and an offset, and nothing else")
        if not isinstance(path.value, str) or not isinstance(offset.value, np.ndarray):
            self.lexer.refuse("the path of BLOBFILE must be a string and its offset a number")
        if not isinstance(type, TensorType) or not type.is_static:
            self.lexer.refuse(f"data in a file must be a fixed tensor, not {type}")
        if offset.value.ndim or offset.value.dtype.kind not in "iu":
            self.lexer.refuse("the offset of BLOBFILE must be one integer")
        return Constant(type, BlobReference(path.value, int(offset.value)))

    def _literal(self) -> Raw:
        lexer = self.lexer
        if lexer.token.kind == "string":
            return Text(lexer.string())
        if lexer.token.text in ("true", "false"):
            return Truth(lexer.advance().text)
        for begin, end in (("[", "]"), ("(", ")"), ("{", "}")):
            if lexer.accept(begin):
                return Items(self.nested(partial(self.items, self._literal, end)))
        return Number(lexer.number("a literal"))

    def type(self) -> ValueType:
        """Return a type."""
        return self.type_after(self.lexer.word("a type"))

    def type_after(self, word: str) -> ValueType:
        """Return a type that begins with ``word``, which was read already."""
        return self.nested(partial(self._type_named, word))

    def _type_named(self, word: str) -> ValueType:
        lexer = self.lexer
        if word not in ("tensor", "list", "tuple", "dict", "state"):
            return TensorType(self._element(word), ())
        lexer.expect("<")
        if word == "tuple":
            return TupleType(self.items(self.type, ">"))
        found: ValueType = self._tensor() if word == "tensor" else self._holding(word, self.type())
        lexer.expect(">")
        return found

    def _holding(self, word: str, inner: ValueType) -> ValueType:
        """Return the list, dictionary or state of ``inner``."""
        if word == "state":
            return StateType(inner)
        self.lexer.expect(",")
        if word == "list":
            return ListType(inner, self._size())
        return DictionaryType(inner, self.type())

    def _tensor(self) -> TensorType:
        element = self._element(self.lexer.word("an element type"))
        self.lexer.expect(",")
        self.lexer.expect("[")
        shape = self.items(self._size, "]")
        if len(shape) > MAX_RANK:
            self.lexer.refuse(f"a tensor has {len(shape)} dimensions")
        return TensorType(element, shape)

    def _element(self, word: str) -> DataType:
        try:
            return DataType(word)
        except ValueError:
            self.lexer.refuse(f"{word[:40]!r} is no element type")

    def _size(self) -> int | None:
        if self.lexer.accept("?"):
            return None
        text = self.lexer.number("a size")
        if not text.isascii() or not text.isdigit() or int(text) > _MAX_SIZE:
            self.lexer.refuse(f"{text} is no size of a dimension")
        return int(text)

    def items(self, item: Callable[[], _Item], end: str) -> tuple[_Item, ...]:
        """Read items between commas, up to and with ``end``."""
        found = list[_Item]()
        if self.lexer.accept(end):
            return ()
        while True:
            found.append(item())
            if self.lexer.accept(end):
                return tuple(found)
            self.lexer.expect(",")

    def named(self, item: Callable[[], _Item], end: str) -> dict[str, _Item]:
        """Read named items between commas, up to and with ``end``."""
        found = dict[str, _Item]()

        def pair() -> None:
            name = self.lexer.word("a name")
            self.lexer.expect("=")
            if name in found:
                self.lexer.refuse(f"{name!r} is given twice")
            found[name] = item()

        self.items(pair, end)
        return found

    def nested(self, read: Callable[[], _Item]) -> _Item:
        """Read something that can hold others of its kind.

        Raises:
            PackageError: it is nested more deeply than any sound program.
        """
        if self.depth == _MAX_DEPTH:
            self.lexer.refuse(f"nested more than {_MAX_DEPTH} times")
        self.depth += 1
        result = read()
        self.depth -= 1
        return result
