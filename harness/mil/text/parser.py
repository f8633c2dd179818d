"""The grammar of MIL text, and from it to this room's program values.

::

    program   = "program" "(" version ")" [attributes] "{" {function} "}"
    function  = "func" name "<" opset ">" "(" [typed {"," typed}] ")" [attributes] body ";"
    body      = "{" {operation} "}" "->" "(" [name {"," name}] ")"
    operation = [typed {"," typed} "="] type "(" [argument {"," argument}] ")" [attributes]
                {block} ";"
    block     = "(" [typed {"," typed}] ")" body
    typed     = type name
    argument  = name "=" (binding | "(" [binding {"," binding}] ")")
    binding   = name | value
    attributes = "[" [name "=" value {"," name "=" value}] "]"
    value     = type "(" literal ")"
    literal   = number | string | "true" | "false" | "[" {literal ","} "]" | "(" {literal ","} ")"
              | "{" {"{" literal "," literal "}" ","} "}"
              | "BLOBFILE" "(" "path" "=" value "," "offset" "=" value ")"
    type      = element | "tensor" "<" element "," "[" {size ","} "]" ">" | "state" "<" type ">"
              | "list" "<" type "," size ">" | "tuple" "<" {type ","} ">"
              | "dict" "<" type "," type ">"
    size      = number | "?"

``tensor<fp32, []>(0x1p+0)`` and ``fp32(0x1p+0)`` are two spellings, of older and newer compilers,
of one scalar. No public program that was compiled by Xcode has confirmed how the blocks of branches
and loops are written: the rule ``block`` is this project's own, and so is a list as a value.

Nothing in the text is trusted: nesting is bounded, sizes of literals are compared with declared
types, and the result is checked by `harness.mil.program.verify` like that of a protocol buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from harness.errors import PackageError
from harness.mil.program import (
    Binding,
    BlobReference,
    Block,
    Constant,
    Function,
    Location,
    Operation,
    Program,
    Variable,
    make_operation,
    verify,
)
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

# How text and protocol buffers spell the sets of operations.
_OPSETS = {
    "ios15": "CoreML5",
    "ios16": "CoreML6",
    "ios17": "CoreML7",
    "ios18": "CoreML8",
    "ios26": "CoreML9",
}

_Item = TypeVar("_Item")


def parse_program(text: str) -> Program:
    """Return the program that ``text`` spells, verified.

    Raises:
        PackageError: it spells none; says line, column, what was expected and what was found.
    """
    parser = _Parser(Lexer(text))
    functions = parser.program()
    for function in functions.values():
        verify(function)
    return Program(functions)


class _Parser:
    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self.depth = 0

    def program(self) -> dict[str, Function]:
        lexer, functions = self.lexer, dict[str, Function]()
        lexer.expect("program")
        lexer.expect("(")
        version = lexer.number("a version number")
        if version.partition(".")[0] != "1":
            lexer.refuse(f"the program has version {version}; only 1.x can be read")
        lexer.expect(")")
        self.attributes()
        lexer.expect("{")
        while not lexer.accept("}"):
            function = self.function()
            if function.name in functions:
                lexer.refuse(f"the function {function.name!r} is defined twice")
            functions[function.name] = function
        if lexer.token.kind != "end":
            lexer.fail("expected the end of the program")
        if not functions:
            lexer.refuse("the program has no functions")
        return functions

    def function(self) -> Function:
        lexer = self.lexer
        lexer.expect("func")
        name = lexer.word("a function's name")
        lexer.expect("<")
        opset = self.opset()
        lexer.expect(">")
        inputs = self.typed_names()
        attributes = self.attributes()
        body = self.body((), name, "")
        lexer.expect(";")
        return Function(name, inputs, opset, body, attributes)

    def opset(self) -> str:
        spelled = self.lexer.word("a set of operations")
        if spelled not in _OPSETS:
            self.lexer.refuse(f"unknown operation set {spelled!r} (known: {', '.join(_OPSETS)})")
        return _OPSETS[spelled]

    def typed_names(self) -> tuple[Variable, ...]:
        self.lexer.expect("(")
        return self.items(self.typed, ")")

    def typed(self) -> Variable:
        type = self.type()
        return Variable(self.lexer.word("a name"), type)

    def body(self, inputs: tuple[Variable, ...], function: str, outer: str) -> Block:
        lexer, operations = self.lexer, list[Operation]()
        lexer.expect("{")
        while not lexer.accept("}"):
            operations.append(self.operation(Location(function, len(operations), outer)))
        lexer.expect("->")
        lexer.expect("(")
        outputs = self.items(lambda: lexer.word("a name"), ")")
        return Block(inputs, outputs, tuple(operations))

    def operation(self, location: Location) -> Operation:
        lexer = self.lexer
        outputs = list[Variable]()
        first = lexer.word("an operation")
        if lexer.token.text != "(":
            outputs.append(Variable("", self.type_after(first)))
            outputs[0] = Variable(lexer.word("a name"), outputs[0].type)
            while lexer.accept(","):
                outputs.append(self.typed())
            lexer.expect("=")
            first = lexer.word("an operation")
        inputs = self.arguments()
        attributes = self.attributes()
        blocks = list[Block]()
        while lexer.token.text == "(":
            outer = f"{location.outer}[{location.index}].{len(blocks)}"
            blocks.append(self.nested(partial(self.block, location.function, outer)))
        lexer.expect(";")
        return make_operation(first, inputs, tuple(outputs), attributes, location, tuple(blocks))

    def block(self, function: str, outer: str) -> Block:
        return self.body(self.typed_names(), function, outer)

    def arguments(self) -> dict[str, tuple[Binding, ...]]:
        self.lexer.expect("(")
        return self.named(self.argument, ")")

    def argument(self) -> tuple[Binding, ...]:
        if self.lexer.accept("("):
            return self.items(self.binding, ")")
        return (self.binding(),)

    def binding(self) -> Binding:
        word = self.lexer.word("a name or a value")
        if self.lexer.token.text in ("(", "<"):
            return self.value_after(word)
        return word

    def attributes(self) -> dict[str, Constant]:
        return self.named(self.value, "]") if self.lexer.accept("[") else {}

    def value(self) -> Constant:
        return self.value_after(self.lexer.word("a value"))

    def value_after(self, word: str) -> Constant:
        type = self.type_after(word)
        self.lexer.expect("(")
        if self.lexer.accept("BLOBFILE"):
            return self.blob(type)
        if self.lexer.accept(")"):
            return self.constant(type, Items())
        literal = self.literal()
        self.lexer.expect(")")
        return self.constant(type, literal)

    def constant(self, type: ValueType, literal: Raw) -> Constant:
        try:
            return constant(type, literal)
        except PackageError as error:
            self.lexer.refuse(str(error))

    def blob(self, type: ValueType) -> Constant:
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

    def literal(self) -> Raw:
        lexer = self.lexer
        if lexer.token.kind == "string":
            return Text(lexer.string())
        if lexer.token.text in ("true", "false"):
            return Truth(lexer.advance().text)
        for begin, end in (("[", "]"), ("(", ")"), ("{", "}")):
            if lexer.accept(begin):
                return Items(self.nested(partial(self.items, self.literal, end)))
        return Number(lexer.number("a literal"))

    def type(self) -> ValueType:
        return self.type_after(self.lexer.word("a type"))

    def type_after(self, word: str) -> ValueType:
        return self.nested(partial(self.type_named, word))

    def type_named(self, word: str) -> ValueType:
        lexer = self.lexer
        if word not in ("tensor", "list", "tuple", "dict", "state"):
            return TensorType(self.element(word), ())
        lexer.expect("<")
        if word == "tuple":
            return TupleType(self.items(self.type, ">"))
        result: ValueType
        if word == "tensor":
            result = self.tensor()
        else:
            inner = self.type()
            if word == "state":
                result = StateType(inner)
            else:
                lexer.expect(",")
                list_type = word == "list"
                result = (
                    ListType(inner, self.size())
                    if list_type
                    else DictionaryType(inner, self.type())
                )
        lexer.expect(">")
        return result

    def tensor(self) -> TensorType:
        element = self.element(self.lexer.word("an element type"))
        self.lexer.expect(",")
        self.lexer.expect("[")
        shape = self.items(self.size, "]")
        if len(shape) > MAX_RANK:
            self.lexer.refuse(f"a tensor has {len(shape)} dimensions")
        return TensorType(element, shape)

    def element(self, word: str) -> DataType:
        for dtype in DataType:
            if dtype.value == word:
                return dtype
        self.lexer.refuse(f"{word[:40]!r} is no element type")

    def size(self) -> int | None:
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
