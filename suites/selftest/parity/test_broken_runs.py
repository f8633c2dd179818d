"""A run whose goldens or engines are broken must not be green, and must say what is broken.

These tests run the real suites on one case of the real subject, in a golden folder of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.golden import GoldenStore
from harness.subjects import Subject, load_subject
from harness.verdicts import Run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SUBJECT, CASE = "mini", "silence"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A golden folder with one golden, equal to its committed fingerprint."""
    root = tmp_path_factory.mktemp("golden")
    for name in ("recipes.toml", "manifest.json"):
        shutil.copy(ROOT / "golden" / name, root / name)
    store: GoldenStore[Subject] = GoldenStore(root)
    finding = store.build(load_subject(SUBJECT), CASE)
    assert finding.status.value == "match", finding.message
    return root


@pytest.fixture
def golden_root(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(built, tmp_path / "golden"))


def run(golden_root: Path, tmp_path: Path, **environment: str) -> tuple[Run, int]:
    """Run the surgery layer on the case; return the run and pytest's exit status."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pytest", "suites/surgery", "-q", "-p", "no:cacheprovider"]
    command += ["--case", CASE, "--golden-root", str(golden_root), "--parity-out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    document = out / "run.json"
    assert document.exists(), done.stdout + done.stderr
    return Run.from_json(document.read_text(encoding="utf-8")), done.returncode


def tensors(golden_root: Path) -> Path:
    (file,) = golden_root.rglob(f"{CASE}.safetensors")
    return file


@pytest.mark.exhaustive
def test_a_sound_golden_is_reported_as_a_match(golden_root: Path, tmp_path: Path) -> None:
    """So it is where pytest-xdist is not installed, as beside the wheel."""
    document, status = run(golden_root, tmp_path, PYTEST_ADDOPTS="-p no:xdist")
    assert [golden.status for golden in document.goldens] == ["match"]
    assert document.red == ()
    assert status == 3  # the other layers were not asked for, and that is not green either
    asked = ("layer", "engine mil", "faults")
    assert [reason for reason in document.missing if not reason.startswith(asked)] == []


@pytest.mark.exhaustive
def test_a_deleted_golden_is_made_again_and_said_to_have_been_missing(
    golden_root: Path, tmp_path: Path
) -> None:
    tensors(golden_root).unlink()
    document, status = run(golden_root, tmp_path)
    assert status == 3
    assert [golden.status for golden in document.goldens] == ["missing"]
    assert any("made in this run: was missing" in reason for reason in document.missing)


def test_one_flipped_byte_of_a_golden_is_red_and_not_healed(
    golden_root: Path, tmp_path: Path
) -> None:
    file = tensors(golden_root)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    document, status = run(golden_root, tmp_path)
    assert status == 1
    assert any("is corrupt" in reason for reason in document.red)
    assert file.read_bytes() == bytes(content)


@pytest.mark.exhaustive
def test_without_the_mil_engine_the_run_says_that_it_is_missing(
    golden_root: Path, tmp_path: Path
) -> None:
    document, status = run(golden_root, tmp_path, PARITY_WITHOUT_ENGINES="mil")
    assert status == 3
    assert "engine mil: hidden by PARITY_WITHOUT_ENGINES" in document.missing
