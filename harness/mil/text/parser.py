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

from functools import partial

from harness.mil.opsets import OPSETS
from harness.mil.program import (
    Binding,
    Block,
    Function,
    Location,
    Operation,
    Program,
    Variable,
    make_operation,
    verify,
)
from harness.mil.text.lexer import Lexer
from harness.mil.text.values import ValueParser

_SPELLED = {opset.text: opset.name for opset in OPSETS.values()}


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


class _Parser(ValueParser):
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
        if spelled not in _SPELLED:
            self.lexer.refuse(f"unknown operation set {spelled!r} (known: {', '.join(_SPELLED)})")
        return _SPELLED[spelled]

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
            type = self.type_after(first)
            outputs.append(Variable(lexer.word("a name"), type))
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
