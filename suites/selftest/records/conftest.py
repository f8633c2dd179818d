"""Runs whose records are looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.digests import digest_of
from harness.verdicts import Run
from suites.selftest.report.conftest import break_checks, build_run


@pytest.fixture(scope="session")
def green() -> Run:
    return build_run()


@pytest.fixture(scope="session")
def red(green: Run) -> Run:
    return break_checks(green)


@pytest.fixture(scope="session")
def unseen(green: Run) -> Run:
    return replace(green, gaps=("suites/stft/test_mps.py::test_device was skipped: needs MPS",))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder as a package has it."""
    folder = tmp_path / "X.mlpackage"
    (folder / "Data" / "weights").mkdir(parents=True)
    (folder / "Manifest.json").write_text("{}")
    (folder / "Data" / "weights" / "weight.bin").write_bytes(bytes(range(256)))
    return folder


@pytest.fixture
def judged(package: Path, tmp_path: Path) -> Callable[[Run], Path]:
    """Write a run document that says it judged ``package``, and return its path."""

    def write(run: Run) -> Path:
        digest = digest_of(package)
        packages = {"X.mlpackage": {digest.algorithm: digest.value}}
        told = replace(run, provenance={**run.provenance, "packages": packages})
        path = tmp_path / "run.json"
        path.write_text(told.to_json(), encoding="utf-8")
        return path

    return write
