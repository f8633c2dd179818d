"""One run of the network that a ``parity.toml`` declares, which costs seconds, for all who ask."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.verdicts import Run
from suites.selftest.declared.fading import declare


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the network is declared, after one run of it."""
    place = tmp_path_factory.mktemp("fading")
    declare(place, "fading_of_runs")
    command = [sys.executable, "-m", "harness", "run", "--json"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["verdict"] == "pass"
    return place


@pytest.fixture
def run(folder: Path) -> Run:
    return Run.from_json((folder / "reports" / "latest" / "run.json").read_text("utf-8"))
