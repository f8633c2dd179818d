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
from types import ModuleType


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


_collector = _Collector()


@functools.cache
def import_coremltools() -> ModuleType:
    """Return the ``coremltools`` module; what it says while loading goes to `import_messages`."""
    logger = logging.getLogger("coremltools")
    propagate = logger.propagate
    logger.addHandler(_collector)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("coremltools")
    finally:
        logger.removeHandler(_collector)
        logger.propagate = propagate


def import_messages() -> tuple[str, ...]:
    """Return what coremltools logged while it was imported."""
    return tuple(_collector.lines)
