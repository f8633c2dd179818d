"""If these fail, an accepted run or an accepted failure of somebody's own network is ignored."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.verdicts import Run, Verdict
from suites.selftest.declared.fading import declare

pytestmark = pytest.mark.exhaustive

SCORES = "conversion/conversion/fading/ordinary/halves/mil/storage/scores"
NARROWED = ("run", "--case", "ordinary", "--recipe", "halves.toml")
RECIPE = """\
name = "halves"
description = "Every operation in FP16, and the run depends on it."
source = "this test"
gating = true
default = "fp16"
"""
LATEST = Path("reports", "latest", "run.json")


def parity(place: Path, *words: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a run that passed, and the goldens of it."""
    folder = tmp_path_factory.mktemp("judged")
    declare(folder, "fading_of_accepted")
    (folder / "halves.toml").write_text(RECIPE, "utf-8")
    demand(folder, 40.0)
    parity(folder, *NARROWED)
    return folder


@pytest.fixture
def place(judged: Path, tmp_path: Path) -> Path:
    """The same in a folder to be changed."""
    shutil.copytree(judged, tmp_path / "own")
    return tmp_path / "own"


def demand(place: Path, min_snr_db: float) -> None:
    """Ask another SNR of the outputs than the table does."""
    file = place / "parity.toml"
    asked = f"gates.conversion = {{ min_snr_db = {min_snr_db}, rtol = 1.0, atol = 1.0 }}\n"
    lines = file.read_text("utf-8").splitlines(keepends=True)
    rest = "".join(line for line in lines if not line.startswith("gates."))
    file.write_text(rest.replace("[inputs]", f"{asked}[inputs]", 1), "utf-8")


def test_what_moved_since_the_accepted_run_is_told(place: Path) -> None:
    accept = ["baseline", "accept", str(LATEST), "--reason", "the first that passed"]
    assert "reports/baseline.json" in parity(place, *accept)
    demand(place, 50.0)
    parity(place, *NARROWED)
    page = (place / LATEST).with_name("index.html").read_text("utf-8")
    assert "the first that passed" in page
    told = json.loads(parity(place, "baseline", "diff", str(LATEST), "--json", code=1))
    assert SCORES in told["worse"]
    assert told["since"]["moved"] >= 1
    assert told["since"]["verdicts changed"] == told["since"]["gone"] == 0


def test_an_accepted_failure_is_counted_and_one_that_is_mended_is_red(place: Path) -> None:
    demand(place, 110.0)
    assert SCORES in parity(place, *NARROWED, code=1)

    since = datetime.datetime.now(tz=datetime.timezone.utc).date()
    until = since + datetime.timedelta(days=30)
    waiver = f'[[waiver]]\ncheck = "{SCORES}"\nreason = "FP16 has no 110 dB"\nsince = {since}\n'
    waiver += f"until = {until}\nlowest_headroom_db = -90.0\n"
    (place / "waivers.toml").write_text(waiver, "utf-8")
    said = parity(place, *NARROWED)
    assert "1 failed and is waived" in said
    run = Run.from_json((place / LATEST).read_text("utf-8"))
    assert run.verdict is Verdict.PASS
    assert list(run.waived) == [SCORES]

    demand(place, 40.0)
    said = parity(place, *NARROWED, code=1)
    assert SCORES in said
    assert "waive" in said
