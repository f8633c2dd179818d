"""Whether Core AI is installed, and its converter, imported quietly."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from harness.errors import EngineUnavailableError

DISTRIBUTIONS: Final = {"coreai": "coreai-core", "coreai_torch": "coreai-torch"}
"""The packages of the extra, each with the distribution that brings it."""


def coreai_availability() -> tuple[bool, str, str]:
    """Return whether Core AI is installed, a sentence that says so or why not, and its version."""
    missing = [dist for name, dist in DISTRIBUTIONS.items() if not importlib.util.find_spec(name)]
    if missing:
        lacking = " and ".join(missing)
        hint = "install the extra: pip install 'htdemucs-parity[coreai]' (Python 3.11 or later)"
        return False, f"Apple's Core AI ({lacking}) is not installed; {hint}", ""
    version = importlib.metadata.version(DISTRIBUTIONS["coreai"])
    return True, "Apple's Core AI runtime, in a process of its own", version


def require_coreai() -> None:
    """Do nothing where Core AI is installed.

    Raises:
        EngineUnavailableError: it isn't; the message names the extra.
    """
    available, reason, _ = coreai_availability()
    if not available:
        raise EngineUnavailableError(reason)


def import_converter() -> ModuleType:
    """Return ``coreai_torch``.

    Raises:
        EngineUnavailableError: it is not installed.
    """
    require_coreai()
    with quiet_coreai():
        return importlib.import_module("coreai_torch")


@contextlib.contextmanager
def quiet_coreai() -> Iterator[None]:
    """Keep the converter's progress and its warnings about versions of PyTorch out of sight."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stderr(io.StringIO()):
            yield
