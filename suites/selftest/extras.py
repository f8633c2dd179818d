"""Skipping what an optional part of the installation is needed for, with a counted reason."""

from __future__ import annotations

import importlib.util

import pytest


def needs(extra: str, *modules: str) -> None:
    """Skip the test or module that calls it where a module of an extra is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"not evaluated: {' and '.join(missing)} is not installed; install the extra"
        pytest.skip(f"{reason}: pip install 'htdemucs-parity[{extra}]'", allow_module_level=True)
