"""If these fail, a night's sweep is lost by a kill, or goes on with results of something else."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.precision.sweep import Cell, content_key, run_sweep

SLEEP_S = 0.05


def slow(cell: Cell) -> dict[str, float]:
    """Stand for a measurement; it leaves a mark each time that it is taken."""
    time.sleep(SLEEP_S)
    with (Path(cell.subject) / "taken").open("a") as marks:
        marks.write(f"{cell.case}\n")
    return {"snr_db": float(len(cell.case)) + 0.25}


def cells(folder: Path, count: int = 24) -> list[Cell]:
    names = [f"case{'x' * number}" for number in range(count)]
    return [Cell(str(folder), "fp16", name, "storage", content_key(name)) for name in names]


def main(folder: str, cache: str) -> None:
    found = run_sweep(cells(Path(folder)), slow, Path(cache), workers=2)
    (Path(folder) / "document.json").write_text(json.dumps(found))


def start(folder: Path, cache: Path) -> subprocess.Popen[bytes]:
    code = "import sys; from suites.selftest.precision.test_sweep import main; main(*sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder), str(cache)], start_new_session=True
    )


def test_a_killed_sweep_goes_on_where_it_stopped_and_ends_the_same(tmp_path: Path) -> None:
    folder, cache = tmp_path / "marks", tmp_path / "cache"
    folder.mkdir()
    broken = start(folder, cache)
    while len(list(cache.glob("[!.]*.json"))) < 4:
        assert broken.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    broken.send_signal(signal.SIGKILL)
    broken.wait()
    before = set(cache.glob("[!.]*.json"))
    assert 4 <= len(before) < 24
    assert not (folder / "document.json").exists()
    assert start(folder, cache).wait() == 0
    taken = (folder / "taken").read_text().split()
    assert (
        len(taken) <= 24 + 6
    )  # what was in flight or queued at the kill, and nothing that was done
    resumed = (folder / "document.json").read_text()
    assert resumed == json.dumps(run_sweep(cells(folder), slow, tmp_path / "fresh"))


def test_nothing_is_measured_twice(tmp_path: Path) -> None:
    wanted = cells(tmp_path, 3)
    first = run_sweep(wanted, slow, tmp_path / "cache")
    assert run_sweep(wanted, slow, tmp_path / "cache") == first
    assert len((tmp_path / "taken").read_text().split()) == 3
    assert [row["case"] for row in first["cells"]] == [cell.case for cell in wanted]


def test_another_content_is_measured_again(tmp_path: Path) -> None:
    (one,) = cells(tmp_path, 1)
    run_sweep([one], slow, tmp_path / "cache")
    run_sweep([replace(one, key=content_key("other"))], slow, tmp_path / "cache")
    assert len((tmp_path / "taken").read_text().split()) == 2


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    (one,) = cells(tmp_path, 1)
    first = run_sweep([one], slow, tmp_path / "cache")
    (tmp_path / "cache" / f"{one.key}.json").write_text("{")
    assert run_sweep([one], slow, tmp_path / "cache") == first


def fails(cell: Cell) -> dict[str, float]:
    raise ValueError(cell.case)


def test_a_failure_is_told_and_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="case"):
        run_sweep(cells(tmp_path, 1), fails, tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*.json"))
