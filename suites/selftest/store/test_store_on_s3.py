"""If these fail, a network that fails as networks do gives other documents, or wrong bytes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from harness.cli import main
from harness.errors import StoreError
from harness.precision.sweep import Cell, FolderOfResults, Result, run_sweep
from harness.store import Store, holdings
from harness.store.remote import ATTEMPTS
from harness.workbench.stored import StoredResults
from suites.selftest.extras import needs

BUCKET = "parity"
URL = f"s3://{BUCKET}/shared"
SERVER = Path(__file__).with_name("s3_server.py")


class Server:
    """A server on loopback: its folder of signals, and the addresses of its two ports."""

    def __init__(self, ready: Path) -> None:
        self.ready = ready
        ports = (ready / "ports").read_text().split()
        self.sound, self.failing = (f"http://127.0.0.1:{port}" for port in ports)

    def files(self) -> Any:
        """Return the server's files through the port that no fault meets."""
        options = {"endpoint_url": self.sound, "key": "test", "secret": "test"}
        return fsspec.filesystem("s3", skip_instance_cache=True, **options)

    def faults(self) -> Counter[str]:
        """Return how often each kind of fault was injected."""
        file = self.ready / "faults"
        return Counter(file.read_text().splitlines() if file.exists() else ())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    needs("s3", "s3fs")
    needs("test", "moto", "flask", "flask_cors")
    ready = tmp_path_factory.mktemp("s3")
    with (ready / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), str(ready)], stdout=log, stderr=log
        )
    try:
        while not (ready / "ports").exists():
            assert process.poll() is None, (ready / "log").read_text()
            time.sleep(0.05)
        found = Server(ready)
        found.files().mkdir(BUCKET)
        yield found
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.failing)


def numbered(count: int) -> list[Cell]:
    return [Cell("s", "fp16", f"case{n}", "storage", f"{n:064x}") for n in range(count)]


def measure(cell: Cell) -> Result:
    return {"snr_db": int(cell.key, 16) / 7}


@pytest.mark.parametrize("count", [6, pytest.param(60, marks=pytest.mark.exhaustive)])
def test_one_request_in_five_fails_and_the_document_is_the_same(
    count: int, server: Server, tmp_path: Path
) -> None:
    documents, before = [], server.faults()
    url = f"{URL}/{count}"
    for name in ("one", "other"):
        machine = Store(url, tmp_path / name / "cache")
        results = StoredResults(machine, FolderOfResults(tmp_path / name / "results"))
        documents.append(json.dumps(run_sweep(numbered(count), measure, results)))
    serial = run_sweep(numbered(count), measure, FolderOfResults(tmp_path / "alone"))
    assert documents == [json.dumps(serial)] * 2
    assert holdings(Store(url, tmp_path / "cache")).names["results"] == count
    seen = server.faults() - before
    assert {kind.split()[0] for kind in seen} == {"slow", "unavailable", "full", "cut"}
    assert sum(seen.values()) >= 2 * count


def test_one_flipped_byte_is_refused_by_name(server: Server, tmp_path: Path) -> None:
    store = Store(URL, tmp_path / "cache")
    store.keep("goldens", "flipped", bytes(range(200)))
    found = store.find("goldens", "flipped")
    assert found is not None
    path = f"{BUCKET}/shared/objects/{found.name[:2]}/{found.name}"
    content = bytearray(server.files().cat_file(path))
    content[100] ^= 1
    server.files().pipe_file(path, bytes(content))
    with pytest.raises(StoreError, match=found.name):
        Store(URL, tmp_path / "fresh").find("goldens", "flipped")
    assert not [p for p in (tmp_path / "fresh").rglob("*") if p.is_file()]


def never(cell: Cell) -> Result:
    raise AssertionError(f"{cell.case} was measured again")


def test_a_store_without_room_loses_nothing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = StoredResults(Store(URL, tmp_path / "cache"), FolderOfResults(tmp_path / "results"))
    cell = Cell("s", "fp16", "full", "storage", "f" * 64)
    (server.ready / "full").touch()
    try:
        monkeypatch.setattr("harness.store.remote.ATTEMPTS", 2)
        with pytest.raises(StoreError, match="can't be written"):
            run_sweep([cell], measure, results)
    finally:
        monkeypatch.setattr("harness.store.remote.ATTEMPTS", ATTEMPTS)
        (server.ready / "full").unlink()
    run_sweep([cell], never, results)
    other = StoredResults(Store(URL, tmp_path / "other"), FolderOfResults(tmp_path / "another"))
    assert other.get(cell) == measure(cell)


@pytest.mark.exhaustive  # botocore tries it again and again
def test_a_server_that_is_not_there_is_no_empty_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("harness.store.remote.ATTEMPTS", 1)
    with pytest.raises(StoreError, match="can't be read"):
        Store(URL, tmp_path).find("results", "k")


def test_without_the_extra_the_command_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec

    def lacking(name: str, package: str | None = None) -> object:
        return None if name == "s3fs" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", lacking)
    assert main(["store", "show", URL]) == 2
    assert "pip install 'htdemucs-parity[s3]'" in " ".join(capsys.readouterr().err.split())
    assert os.environ["AWS_ENDPOINT_URL"]
