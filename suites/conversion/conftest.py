from __future__ import annotations

from pathlib import Path

import pytest

from harness.pytest_plugin import profile_of
from harness.workbench.second_opinion import ENGINE


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ask for a second opinion where the engine that gives it was asked for."""
    asked = collection_path.name != "test_second_opinion.py" or ENGINE in profile_of(config).engines
    return None if asked else True
