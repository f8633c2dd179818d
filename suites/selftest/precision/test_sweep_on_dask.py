"""If these fail, a sweep on a cluster loses cells, does them twice, or says something else."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import mil
from harness.cli import main
from harness.conversion import load_recipe
from harness.errors import EngineUnavailableError
from harness.metrics import snr_db
from harness.precision.executors import opener_of
from harness.precision.sweep import Cell, FolderOfResults, Result, content_key, run_sweep
from harness.precision.virtual import VirtualPrecision
from suites.ops.packages import write_package
from suites.selftest.extras import needs
from suites.selftest.mil.conftest import make_program, small_network

HERE = Path(__file__).parent
PATHS = os.pathsep.join([str(HERE.parents[2]), str(HERE)])
"""What workers import: the project, and this module by the name that pytest gives it."""
PAUSE_S = 0.01
"""So that a kill meets a measurement more often than the time between two."""


@lru_cache(maxsize=1)
def small_lab(package: Path) -> VirtualPrecision:
    return VirtualPrecision(mil.load(package))


def measure_small(package: Path, marks: Path, cell: Cell) -> Result:
    """Run a small package in FP16 and FP32 on noise; leave process and cell in ``marks``."""
    lab = small_lab(package)
    seed = int(cell.case.removeprefix("seed"))
    signal_in = np.random.default_rng(seed).standard_normal((3, 6)).astype(np.float32)
    inputs = {"x": torch.from_numpy(signal_in)}
    choice = lab.by_recipe(load_recipe("fp16"))
    expected, actual = lab.base.run(inputs), lab.model(choice).run(inputs)
    time.sleep(PAUSE_S)
    with marks.open("a") as file:
        file.write(f"{os.getpid()} {cell.case}\n")
    return {name: snr_db(expected[name].numpy(), actual[name].numpy()) for name in expected}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("small") / "small.mlpackage"
    write_package(make_program(small_network, {"x": (3, 6)}, np.float32), target)
    return target


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    """Start a scheduler and workers of one thread each, and yield its address."""
    needs("dask", "distributed")
    file, alone = folder / "scheduler.json", ["--no-dashboard"]
    environment = {**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    with ExitStack() as stack:

        def start(*words: str) -> None:
            command = [sys.executable, "-m", "dask", *words, *alone, "--scheduler-file", str(file)]
            with (folder / f"{words[0]}.log").open("a") as log:
                process = subprocess.Popen(
                    command, cwd=folder, env=environment, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(os.killpg, process.pid, signal.SIGKILL)

        start("scheduler", "--port", "0", "--host", "127.0.0.1")
        for _ in range(workers):
            start("worker", "--nworkers", "1", "--nthreads", "1", "--local-directory", str(folder))
        while not file.exists() or not file.read_text().strip():
            time.sleep(0.05)
        yield json.loads(file.read_text())["address"].replace("tcp://", "dask://")


def swept(folder: Path, package: Path, count: int, kills: tuple[int, ...]) -> None:
    """Sweep on two workers, one of which is killed when so many cells are done; compare."""
    wanted = [
        Cell("small", "fp16", f"seed{n}", "storage", content_key(str(n))) for n in range(count)
    ]
    marks, killed = folder / "marks", []

    def advance(done: int, total: int) -> None:
        if len(killed) < len(kills) and done >= kills[len(killed)]:
            last = marks.read_text().splitlines()[-1]
            pid = int(last.split()[0])
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    with cluster(folder, 2) as address:
        found = run_sweep(
            wanted,
            partial(measure_small, package, marks),
            FolderOfResults(folder / "results"),
            executor=opener_of(address),
            advance=advance,
        )
    assert len(killed) == len(kills)
    taken = Counter(line.split()[1] for line in marks.read_text().splitlines())
    assert taken.keys() == {cell.case for cell in wanted}
    twice = sum(count - 1 for count in taken.values())
    assert twice <= len(kills), "a cell that was done was measured again"
    serial = run_sweep(
        wanted,
        partial(measure_small, package, folder / "marks of one"),
        FolderOfResults(folder / "results of one"),
    )
    assert json.dumps(found) == json.dumps(serial)


@pytest.mark.exhaustive
def test_a_killed_worker_changes_nothing_of_the_document(tmp_path: Path, package: Path) -> None:
    swept(tmp_path, package, 30, (10,))


@pytest.mark.exhaustive
def test_a_thousand_cells_and_two_kills(tmp_path: Path, package: Path) -> None:
    swept(tmp_path, package, 1_000, (200, 500))


def test_a_scheduler_that_is_not_there_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("dask", "distributed")
    monkeypatch.setattr("harness.precision.executors.CONNECT_S", 1)
    missing = opener_of("dask://127.0.0.1:9")()
    with pytest.raises(EngineUnavailableError, match="no Dask scheduler answers"), missing:
        pass


@pytest.mark.parametrize("name", ["dask", "ray://x:1", "dask://", "local:2"])
def test_an_executor_that_is_none_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "mini", "--precisions", "fp16", "--executor", name]) == 2
    assert "expected local or dask://HOST:PORT" in " ".join(capsys.readouterr().err.split())


def test_without_the_extra_the_command_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec

    def lacking(name: str, package: str | None = None) -> object:
        return None if name == "distributed" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", lacking)
    assert main(["sweep", "mini", "--precisions", "fp16", "--executor", "dask://x:1"]) == 2
    assert "pip install 'htdemucs-parity[dask]'" in " ".join(capsys.readouterr().err.split())
