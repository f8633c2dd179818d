"""Tokens of MIL text, one at a time: nothing is made of the text before it is asked for.

Identifiers, numbers (decimal, hexadecimal floating-point), strings in double quotes, and single
characters of punctuation; ``->`` is one token. White space separates and means nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from harness.errors import PackageError

# No number of a sound program is longer; int() of a much longer one would take quadratic time.
_MAX_NUMBER_LENGTH = 64

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number> -?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?
                | -?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?
                | -(?:inf|nan)\b )
    | (?P<word> [A-Za-z_@][A-Za-z0-9_.@]* )
    | (?P<string> " )
    | (?P<mark> -> | [()\[\]{}<>,;=?] )
    | (?P<end> \Z )
    )""",
    re.VERBOSE | re.DOTALL,
)
_STOP = re.compile(r'["\\]')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\", "0": "\0"}


@dataclass(frozen=True)
class Token:
    """One token: ``kind`` is number, word, string, mark or end."""

    kind: str
    text: str
    position: int


class Lexer:
    """The tokens of a text; ``token`` is the current one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.token = self._next(0)

    def advance(self) -> Token:
        """Return the current token and go to the next."""
        token = self.token
        self.token = self._next(token.position + len(token.text))
        return token

    def accept(self, mark: str) -> bool:
        """Skip the current token if it is ``mark``; return whether it was."""
        if self.token.kind in ("mark", "word") and self.token.text == mark:
            self.advance()
            return True
        return False

    def expect(self, mark: str) -> None:
        """Skip the current token, which must be ``mark``.

        Raises:
            PackageError: it is not.
        """
        if not self.accept(mark):
            self.fail(f"expected {mark!r}")

    def word(self, what: str) -> str:
        """Return the current token, which must be a word, and go to the next.

        Raises:
            PackageError: it is none.
        """
        if self.token.kind != "word":
            self.fail(f"expected {what}")
        return self.advance().text

    def number(self, what: str) -> str:
        """Return the current token, which must be a number, and go to the next.

        Raises:
            PackageError: it is none, or too long.
        """
        word = self.token.kind == "word" and self.token.text in ("inf", "nan")
        if (self.token.kind != "number" and not word) or len(self.token.text) > _MAX_NUMBER_LENGTH:
            self.fail(f"expected {what}")
        return self.advance().text

    def string(self) -> str:
        """Return the content of the current token, which must be a string, and go to the next.

        Raises:
            PackageError: it is none, or has an unknown escape.
        """
        if self.token.kind != "string":
            self.fail("expected a string")
        return _ESCAPE.sub(self._escape, self.advance().text[1:-1])

    def _escape(self, match: re.Match[str]) -> str:
        if match[1] not in _ESCAPED:
            self.refuse(f"a string has the unknown escape {match[0]!r}")
        return _ESCAPED[match[1]]

    def fail(self, message: str) -> NoReturn:
        """Refuse the text at the current token.

        Raises:
            PackageError: always; says line, column and what stands there.
        """
        self.refuse(f"{message}, found {self.token.text[:40] or 'the end'!r}")

    def refuse(self, message: str) -> NoReturn:
        """Refuse what was read up to the current token.

        Raises:
            PackageError: always; says line and column.
        """
        self._refuse(self.token.position, message)

    def _refuse(self, position: int, message: str) -> NoReturn:
        line = self._text.count("\n", 0, position) + 1
        column = position - self._text.rfind("\n", 0, position)
        raise PackageError(f"line {line}, column {column}: {message}")

    def _next(self, position: int) -> Token:
        match = _TOKEN.match(self._text, position)
        if match is None or match.lastgroup is None:
            self._refuse(position, f"can't be read: {self._text[position : position + 40]!r}")
        kind, start = match.lastgroup, match.start(match.lastgroup)
        end = self._end_of_string(start) if kind == "string" else match.end(kind)
        return Token(kind, self._text[start:end], start)

    def _end_of_string(self, start: int) -> int:
        """Return where the string that begins at ``start`` ends.

        A pattern for it would remember each of its characters, in case that it has no end.
        """
        place = start + 1
        while (stop := _STOP.search(self._text, place)) is not None:
            if stop[0] == '"':
                return stop.end()
            place = stop.end() + 1
        self._refuse(start, f"a string without an end: {self._text[start : start + 40]!r}")
