"""Figures of the benchmarks, for people on the terminal and in a document for the report.

``--bench-out FILE`` writes what the fixture `measured` was told: JSON of kind ``bench``, which
``parity report --attach`` shows. Less is better for every figure; ratios are of two sides that ran
in turns in one process.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from harness.atomic import write_text
from harness.origin import provenance

Measured = Callable[[str, float, str], None]
VERSION = 1
FIGURES: pytest.StashKey[list[dict[str, object]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench-out", type=Path, metavar="FILE", help="write the figures here")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> Measured:
    """Return what takes a figure: its name, value and unit (empty for a ratio)."""

    def take(name: str, value: float, unit: str) -> None:
        pytestconfig.stash[FIGURES].append({"name": name, "value": float(value), "unit": unit})

    return take


def pytest_sessionfinish(session: pytest.Session) -> None:
    out: Path | None = session.config.getoption("--bench-out", None)
    if out is None or not session.config.stash[FIGURES]:
        return
    document = {
        "kind": "bench",
        "version": VERSION,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "provenance": provenance(["nox", "-s", "bench"]),
        "figures": session.config.stash[FIGURES],
    }
    write_text(out, json.dumps(document, indent=1, allow_nan=False) + "\n")
