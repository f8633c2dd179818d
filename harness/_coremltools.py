"""coremltools, imported once and quietly.

Off macOS coremltools prints one line for each native proxy that it can't load and one for a torch
version that it was not tested with. Both are expected here, so they are kept out of the user's
sight and kept for ``parity doctor``.
"""

from __future__ import annotations

import functools
import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_messages: list[str] = []


class _LogLines(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def logged_apart(level: int = logging.NOTSET) -> Iterator[list[str]]:
    """Keep warnings and what coremltools logs out of sight; yield the list of its lines."""
    handler, logger = _LogLines(level), logging.getLogger("coremltools")
    propagate = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


@functools.cache
def import_coremltools() -> ModuleType:
    """Return the ``coremltools`` module; what it says while loading goes to `import_messages`."""
    with logged_apart() as lines:
        found = importlib.import_module("coremltools")
    _messages.extend(lines)
    return found


def import_messages() -> tuple[str, ...]:
    """Return what coremltools logged while it was imported."""
    return tuple(_messages)
