"""Every error that this project raises on purpose.

The tree::

    ParityError                     exit code 2: bad usage or bad input
    ├── UnknownNameError            a name that does not exist; suggests the nearest one
    ├── AudioError                  an audio file or signal that can't be used
    ├── CheckpointError             weights that can't be loaded, or must not be
    ├── RecipeError                 a precision or golden recipe that is wrong
    ├── DeclarationError            a parity.toml, or the network that it declares, that is wrong
    ├── PackageError                a file that is no ML Program package, or a broken one
    │   ├── ContractError           a sound package with other inputs or outputs than expected
    │   └── UnsupportedOperationError   an operation that the executor does not know
    ├── ExecutionError              an operation that could not be executed on its inputs
    ├── RunError                    a run document that can't be read
    ├── GoldenError                 a golden store that can't be used
    ├── StoreError                  a store of objects that can't be used, or gave wrong bytes
    ├── MissingExtraError           an extra of this installation that is not there
    └── NotEvaluatedError           exit code 3: the question is sound, but can't be answered here
        ├── WeightsUnavailableError     pretrained weights that are not on this machine
        ├── EngineUnavailableError      an engine that can't run here
        └── GoldenUnavailableError      an expected tensor that is missing

A message names the thing, the value, what was expected, and the next step. The command line prints
the message as one sentence and exits with ``exit_code``; it never shows a traceback for these.

What a message quotes may come from a stranger's file: a name of a megabyte, half a surrogate pair,
a sequence that clears the terminal. So every message is made one printable line of at most
`MESSAGE_LENGTH` characters, here and nowhere else.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Collection, Iterable
from typing import ClassVar, Final

MESSAGE_LENGTH: Final = 495
"""The most characters of a message; what is longer loses its middle."""
_TAIL_LENGTH: Final = 160  # the end says what was expected and what to do
_LISTED_LENGTH: Final = 240
_COMPARED_LENGTH: Final = 100  # comparing takes time that grows with the square of it


class ParityError(Exception):
    """The root of the tree: bad usage or bad input."""

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


def one_line(text: str, length: int = MESSAGE_LENGTH) -> str:
    """Return ``text`` as one printable line: escaped where it must be, and cut in its middle.

    White space becomes single spaces. What can't be printed (control characters, halves of
    surrogate pairs, as a file name that is no UTF-8 has them) becomes an escape as in Python.
    """
    if len(text) > 8 * length:  # whatever is escaped below, this much of it is never shown
        text = text[: 4 * length] + text[-4 * length :]
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    if len(line) <= length:
        return line
    tail = min(_TAIL_LENGTH, length // 3)
    return f"{line[: length - tail - 6]} [...]{line[-tail:]}"


def command_line(*words: object) -> str:
    """Return a command of this program as a shell takes it, whatever is in its words.

    Where it ends a message, it follows a colon: quotes around it would be read as its own.
    """
    return shlex.join(("parity", *map(str, words)))


class UnknownNameError(ParityError):
    """A name that is not among the known ones.

    Args:
        kind: what the name should have been ("subject", "precision recipe", ...).
        name: what was given.
        known: the names that exist; the nearest one is suggested.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = difflib.get_close_matches(name[:_COMPARED_LENGTH], self.known, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(self.known)
        if len(listed) > _LISTED_LENGTH:
            listed = listed[:_LISTED_LENGTH].rpartition(", ")[0]
            listed = f"{len(self.known)} names{': ' if listed else ''}{listed}, ..."
        shown = one_line(repr(name), _COMPARED_LENGTH)
        super().__init__(f"unknown {kind} {shown}{hint} (known: {listed})")


def require_known(kind: str, known: Collection[str], *names: str) -> None:
    """Do nothing if all of ``names`` are among the ``known`` ones.

    Raises:
        UnknownNameError: about the first that isn't.
    """
    for name in names:
        if name not in known:
            raise UnknownNameError(kind, name, known)


class AudioError(ParityError):
    """An audio file or signal that can't be used."""


class CheckpointError(ParityError):
    """Weights that can't be loaded, or must not be."""


class DeclarationError(ParityError):
    """A ``parity.toml`` that is wrong, or a network that isn't what it says."""


class RecipeError(ParityError):
    """A precision or golden recipe that is wrong."""


class PackageError(ParityError):
    """A file that is no ML Program package, or a broken one."""


class ContractError(PackageError):
    """A sound package whose inputs or outputs are not the expected ones."""


class UnsupportedOperationError(PackageError):
    """An operation that the executor does not know."""


class ExecutionError(ParityError):
    """An operation that could not be executed on the inputs that it got."""


class RunError(ParityError):
    """A run document that can't be read."""


class StoreError(ParityError):
    """A store of objects that can't be reached or used, or that gave other bytes than it should."""


class MissingExtraError(ParityError):
    """Something that needs an extra of this installation, which it does not have."""


class GoldenError(ParityError):
    """A golden store that can't be used."""


class NotEvaluatedError(ParityError):
    """The question is sound, but it can't be answered here; never green."""

    exit_code: ClassVar[int] = 3


class WeightsUnavailableError(NotEvaluatedError):
    """Pretrained weights that are not on this machine and can't be fetched."""


class EngineUnavailableError(NotEvaluatedError):
    """An engine that can't run on this machine."""


class GoldenUnavailableError(NotEvaluatedError):
    """An expected tensor that is missing."""
