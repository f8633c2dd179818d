"""If these fail, a night's sweep is lost by a kill, or goes on with results of something else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main as main_of_parity
from harness.cli.console import json_text
from harness.errors import ParityError
from harness.precision.executors import local
from harness.precision.shards import merge
from harness.precision.sweep import Cell, FolderOfResults, Result, Shard, content_key, run_sweep

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
    found = run_sweep(cells(Path(folder)), slow, FolderOfResults(Path(cache)), executor=local(2))
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
    assert resumed == json.dumps(
        run_sweep(cells(folder), slow, FolderOfResults(tmp_path / "fresh"))
    )


def test_nothing_is_measured_twice(tmp_path: Path) -> None:
    wanted = cells(tmp_path, 3)
    first = run_sweep(wanted, slow, FolderOfResults(tmp_path / "cache"))
    assert run_sweep(wanted, slow, FolderOfResults(tmp_path / "cache")) == first
    assert len((tmp_path / "taken").read_text().split()) == 3
    assert [row["case"] for row in first["cells"]] == [cell.case for cell in wanted]


def test_another_content_is_measured_again(tmp_path: Path) -> None:
    (one,) = cells(tmp_path, 1)
    run_sweep([one], slow, FolderOfResults(tmp_path / "cache"))
    run_sweep([replace(one, key=content_key("other"))], slow, FolderOfResults(tmp_path / "cache"))
    assert len((tmp_path / "taken").read_text().split()) == 2


def test_a_damaged_result_is_measured_again(tmp_path: Path) -> None:
    (one,) = cells(tmp_path, 1)
    first = run_sweep([one], slow, FolderOfResults(tmp_path / "cache"))
    (tmp_path / "cache" / f"{one.key}.json").write_text("{")
    assert run_sweep([one], slow, FolderOfResults(tmp_path / "cache")) == first


def fails(cell: Cell) -> dict[str, float]:
    raise ValueError(cell.case)


def test_a_failure_is_told_and_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="case"):
        run_sweep(cells(tmp_path, 1), fails, FolderOfResults(tmp_path / "cache"))
    assert not list(tmp_path.glob("cache/*.json"))


def dies_once(cell: Cell) -> dict[str, float]:
    """Measure, but the process that comes to the sixth cell is killed the first time."""
    mark = Path(cell.subject) / "died"
    if len(cell.case) == len("case") + 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return slow(cell)


def test_a_worker_that_is_killed_costs_its_cell_and_nothing_else(tmp_path: Path) -> None:
    wanted = cells(tmp_path, 16)
    found = run_sweep(wanted, dies_once, FolderOfResults(tmp_path / "one"), executor=local(2))
    assert (tmp_path / "died").exists()
    assert len((tmp_path / "taken").read_text().split()) <= 16 + 1  # its neighbour was at work
    assert found == run_sweep(wanted, slow, FolderOfResults(tmp_path / "other"))


def dies(cell: Cell) -> dict[str, float]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def test_a_cell_that_kills_every_worker_ends_the_sweep(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="died 3 times without a cell"):
        run_sweep(cells(tmp_path, 3), dies, FolderOfResults(tmp_path), executor=local(2))


def quick(cell: Cell) -> dict[str, float]:
    return {"snr_db": float(len(cell.case)) / 3}


class Remembered(dict[str, Result]):
    """Results that are kept in memory."""

    def get(self, cell: Cell) -> Result | None:  # type: ignore[override]
        return super().get(cell.key)

    def put(self, cell: Cell, result: Result) -> None:
        self[cell.key] = result


def numbered(count: int) -> list[Cell]:
    return [Cell("s", "fp16", f"case{n}", "storage", f"{n:064x}") for n in range(count)]


def shards(count: int, of: int) -> dict[str, dict[str, Any]]:
    wanted, kept = numbered(count), Remembered()
    return {
        f"{index}.json": json.loads(
            json.dumps(run_sweep(wanted, quick, kept, shard=Shard(index, of)))
        )
        for index in range(1, of + 1)
    }


@given(count=st.integers(1, 40), of=st.integers(1, 15), data=st.data())
def test_shards_in_any_order_are_the_whole(count: int, of: int, data: st.DataObject) -> None:
    mixed = dict(data.draw(st.permutations(list(shards(count, of).items()))))
    whole = run_sweep(numbered(count), quick, Remembered())
    assert json.dumps(merge(mixed)) == json.dumps(whole)


def test_merging_files_gives_the_bytes_of_a_single_run(tmp_path: Path) -> None:
    for name, found in shards(9, 4).items():
        (tmp_path / name).write_text(json_text(found) + "\n")
    whole, files = tmp_path / "whole.json", sorted(map(str, tmp_path.glob("*.json")))
    assert main_of_parity(["sweep", "merge", *files, "--out", str(whole)]) == 0
    assert whole.read_text() == json_text(run_sweep(numbered(9), quick, Remembered())) + "\n"
    before = whole.read_bytes()
    assert main_of_parity(["sweep", "merge", *files[1:], "--out", str(whole)]) == 2
    assert main_of_parity(["sweep", "merge", files[0], *files, "--out", str(whole)]) == 2
    assert whole.read_bytes() == before


def test_shards_that_are_no_sweep_together_are_refused() -> None:
    parts, others = shards(7, 3), shards(8, 3)
    two = {name: parts[name] for name in ("1.json", "3.json")}
    with pytest.raises(ParityError, match="shards are missing: 2/3"):
        merge(two)
    with pytest.raises(ParityError, match=r"and so is 1\.json"):
        merge({**parts, "again.json": parts["1.json"]})
    with pytest.raises(ParityError, match="of another sweep"):
        merge({**two, "2.json": others["2.json"]})
    with pytest.raises(ParityError, match="no document of a shard"):
        merge({"whole.json": run_sweep(numbered(2), quick, Remembered())})
    exchanged = {**parts, "2.json": {**parts["2.json"], "cells": parts["1.json"]["cells"][:2]}}
    with pytest.raises(ParityError, match="not those of their sweep"):
        merge(exchanged)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ParityError, match="expected K/N"):
        Shard.parse(text)
