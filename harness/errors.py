"""Every error that this project raises on purpose.

The tree::

    ParityError                     exit code 2: bad usage or bad input
    ├── UnknownNameError            a name that does not exist; suggests the nearest one
    ├── AudioError                  an audio file or signal that can't be used
    ├── CheckpointError             weights that can't be loaded, or must not be
    ├── RecipeError                 a precision or golden recipe that is wrong
    ├── PackageError                a file that is no ML Program package, or a broken one
    │   ├── ContractError           a sound package with other inputs or outputs than expected
    │   └── UnsupportedOperationError   an operation that the executor does not know
    ├── ExecutionError              an operation that could not be executed on its inputs
    ├── RunError                    a run document that can't be read
    ├── GoldenError                 a golden store that can't be used
    └── NotEvaluatedError           exit code 3: the question is sound, but can't be answered here
        ├── WeightsUnavailableError     pretrained weights that are not on this machine
        ├── EngineUnavailableError      an engine that can't run here
        └── GoldenUnavailableError      an expected tensor that is missing

A message names the thing, the value, what was expected, and the next step. The command line prints
the message as one sentence and exits with ``exit_code``; it never shows a traceback for these.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class ParityError(Exception):
    """The root of the tree: bad usage or bad input."""

    exit_code: ClassVar[int] = 2


class UnknownNameError(ParityError):
    """A name that is not among the known ones.

    Args:
        kind: what the name should have been ("subject", "precision recipe", ...).
        name: what was given.
        known: the names that exist; the nearest one is suggested.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}{hint} (known: {', '.join(self.known)})")


class AudioError(ParityError):
    """An audio file or signal that can't be used."""


class CheckpointError(ParityError):
    """Weights that can't be loaded, or must not be."""


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
