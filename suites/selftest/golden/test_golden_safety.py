"""Kills, parallel builders and a full disk: a golden is the old one or the new one, never half."""

from __future__ import annotations

import errno
import json
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from golden_fakes import (
    FakeBuilder,
    FakeSubject,
    build_forever,
    build_many,
    build_until_event,
    build_with_small_files,
    fetch_and_report,
    make_root,
    make_store,
)

from harness.digests import sha256
from harness.errors import GoldenError
from harness.golden import (
    GoldenStatus,
    GoldenStore,
    inspection,
    layout,
    publication,
)
from harness.locks import file_lock

Store = GoldenStore[FakeSubject]


def leftovers(root: Path) -> list[str]:
    return sorted(
        path.name for path in root.rglob(".*") if path.is_file() and path.suffix != ".lock"
    )


def value(store: Store, subject: FakeSubject) -> float:
    with store.load(subject, "noise") as golden:
        values = {float(golden[name].flat[0]) for name in golden.names}
    assert len(values) == 1, f"a golden with tensors of several builds: {values}"
    return values.pop()


@pytest.mark.parametrize(
    "every", [24, pytest.param(1, marks=pytest.mark.exhaustive)], ids="backwards every {}".format
)
def test_dying_at_any_change_of_the_file_system_leaves_the_old_or_the_new_golden(
    every: int, root: Path, subject: FakeSubject, processes: Any
) -> None:
    make_store(root, FakeBuilder(value=0.0)).build(subject, "noise")
    store = make_store(root)
    before = 0.0
    seen = {"old": 0, "new": 0}

    def build_until(event: int, value_: float) -> bool:
        """Build and die before change ``event``; return whether the build ended before."""
        nonlocal before
        child = processes.Process(target=build_until_event, args=(root, value_, event))
        child.start()
        child.join()
        assert child.exitcode in (0, 9)
        now = value(store, subject)
        assert now in (before, value_), f"killed before change {event}"
        seen["old" if now == before else "new"] += 1
        before = now
        return child.exitcode == 0

    last = next(event for event in range(1000) if build_until(event, 1.0 + event))
    # Backwards, too: a kill after the golden is in place, and then one just before it would be.
    for event in reversed(range(0, last, every)):
        build_until(event, -1.0 - event)
    assert seen["old"] > 16, "too few kills before the golden was in place"
    assert seen["new"] > 4, "too few kills after the golden was in place"
    store.build(subject, "noise", force=True)
    assert leftovers(root) == []


def test_a_reader_that_is_overtaken_by_a_builder_sees_no_corruption(
    root: Path, subject: FakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(root)
    store.build(subject, "noise")
    calls = 0

    def sha256_after_a_build(path: Path) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:  # the reader has read the ledger, and not yet the file
            with monkeypatch.context() as patch:
                patch.setattr(inspection, "sha256", sha256)
                make_store(root, FakeBuilder(value=2.0)).build(subject, "noise", force=True)
        return sha256(path)

    monkeypatch.setattr(inspection, "sha256", sha256_after_a_build)
    assert store.status(subject, "noise").status is GoldenStatus.UNRECORDED
    assert calls == 2


def test_kills_at_random_moments_leave_the_old_or_the_new_golden(
    root: Path, subject: FakeSubject, processes: Any
) -> None:
    store = make_store(root)
    store.build(subject, "noise")
    moments = random.Random(5)
    for _ in range(25):
        child = processes.Process(target=build_forever, args=(root,))
        child.start()
        time.sleep(moments.uniform(0.0, 0.06))
        child.kill()
        child.join()
        assert value(store, subject) >= 0.0
    store.build(subject, "noise", force=True)
    assert leftovers(root) == []


def test_a_kill_during_the_first_build_leaves_nothing_built(
    root: Path, subject: FakeSubject, processes: Any
) -> None:
    store = make_store(root)
    statuses = set()
    for event in range(0, 24, 2):
        child = processes.Process(target=build_until_event, args=(root, float(event), event))
        child.start()
        child.join()
        statuses.add(store.status(subject, "noise").status)
    assert statuses <= {GoldenStatus.NOT_BUILT, GoldenStatus.UNRECORDED}
    assert GoldenStatus.NOT_BUILT in statuses


@pytest.mark.parametrize("force", [False, True])
def test_processes_that_build_at_once_build_once(
    root: Path, tmp_path: Path, subject: FakeSubject, processes: Any, force: bool
) -> None:
    log = tmp_path / "log"
    builder = FakeBuilder(log=log, pause_s=0.6)
    children = [
        processes.Process(target=build_many, args=(root, builder, ["noise"], force))
        for _ in range(3)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert len(log.read_text().splitlines()) == 1
    assert make_store(root).status(subject, "noise").usable


def test_processes_that_fetch_at_once_say_once_that_it_was_made(
    root: Path, tmp_path: Path, processes: Any
) -> None:
    reports = [tmp_path / f"report{index}" for index in range(3)]
    children = [
        processes.Process(target=fetch_and_report, args=(root, FakeBuilder(pause_s=0.5), report))
        for report in reports
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    found = sorted(report.read_text().split()[1] != "None" for report in reports)
    assert found == [False, False, True]


def test_parallel_builds_lose_no_entry_of_the_ledger(
    tmp_path: Path, subject: FakeSubject, processes: Any
) -> None:
    names = [f"case_{index}" for index in range(24)]
    recipes = "".join(f'[case.{name}]\nkind = "silence"\nwhy = "x"\n' for name in names)
    root = make_root(tmp_path / "golden", recipes)
    children = [
        processes.Process(target=build_many, args=(root, FakeBuilder(), names[start::4], False))
        for start in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    ledger = json.loads((root / "tensors" / "ledger.json").read_text())
    assert sorted(ledger["goldens"]["tiny"]) == sorted(names)
    store = make_store(root)
    assert all(store.status(subject, name).usable for name in names)


def test_parallel_recordings_lose_no_entry_of_the_manifest(
    tmp_path: Path, subject: FakeSubject
) -> None:
    names = [f"case_{index}" for index in range(12)]
    recipes = "".join(f'[case.{name}]\nkind = "silence"\nwhy = "x"\n' for name in names)
    root = make_root(tmp_path / "golden", recipes)

    def record(part: list[str]) -> None:
        for name in part:
            make_store(root).build(subject, name, record=True)

    threads = [threading.Thread(target=record, args=(names[start::3],)) for start in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manifest = json.loads((root / "manifest.json").read_text())
    assert sorted(manifest["goldens"]["tiny"]) == sorted(names)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on a file's size")
def test_a_disk_that_fills_up_keeps_the_old_golden(
    recorded: Store, subject: FakeSubject, root: Path, tmp_path: Path, processes: Any
) -> None:
    report = tmp_path / "report"
    child = processes.Process(target=build_with_small_files, args=(root, report, 100_000))
    child.start()
    child.join()
    assert "can't be stored" in report.read_text()
    assert "MB free" in report.read_text()
    assert recorded.status(subject, "noise").status is GoldenStatus.MATCH
    assert leftovers(root) == []


@pytest.mark.parametrize("step", ["write_tensors", "write_ledger", "write_manifest"])
def test_a_full_disk_at_any_step_is_one_clear_error(
    recorded: Store, subject: FakeSubject, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(publication, step, fail)
        with pytest.raises(GoldenError, match="No space left on device"):
            recorded.build(subject, "noise", force=True, record=True)
    assert recorded.status(subject, "noise").status is GoldenStatus.MATCH


def test_a_lock_excludes_threads_and_is_free_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    inside = most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with file_lock(path):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    with pytest.raises(ZeroDivisionError), file_lock(path):
        raise ZeroDivisionError
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert path.exists(), "a lock file that is deleted can be locked twice"


def test_a_lock_that_can_not_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(GoldenError, match=r"lock file .* can't be opened"),
        file_lock(tmp_path / "file" / "a.lock"),
    ):
        pass


def test_an_installed_package_is_not_written_to(
    subject: FakeSubject, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its folder may be read-only, and is replaced at the next upgrade."""
    before = {path.name for path in store.layout.root.iterdir()}
    monkeypatch.setattr(layout, "INSTALLED", True)
    monkeypatch.setattr(layout, "GOLDEN_ROOT", store.layout.root)
    monkeypatch.setattr(layout, "generated", lambda folder: tmp_path / "cache" / folder)
    assert store.build(subject, "noise").usable
    assert store.layout.tensors(subject.name, "noise").is_relative_to(tmp_path / "cache")
    with pytest.raises(GoldenError, match="belongs to the installed package"):
        store.build(subject, "noise", record=True)
    assert {path.name for path in store.layout.root.iterdir()} == before
