"""A pytest plugin that installs the bridge for a test session, in each of xdist's processes, too.

``pytest -p harness.mil.bridge.plugin``, or ``python -m harness.mil.bridge -m pytest``.
"""

from __future__ import annotations

import contextlib

import pytest

from harness.mil.bridge.patches import installed
from harness.mil.bridge.proxy import Ledger

LEDGER = pytest.StashKey[Ledger]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Install the bridge before any test module is imported."""
    stack = contextlib.ExitStack()
    config.stash[LEDGER] = stack.enter_context(installed())
    config.add_cleanup(stack.close)
