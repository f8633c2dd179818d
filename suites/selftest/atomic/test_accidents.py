"""Kills, full and failing disks at every step: a folder holds the files of one writer."""

from __future__ import annotations

import functools
import multiprocessing
import os
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from harness.atomic import atomic_file, atomic_folder, atomic_set, recover_set, write_text
from harness.atomic.folders import recover_folder
from harness.atomic.products import PACKAGE
from suites.selftest.atomic import accidents, writers
from suites.selftest.atomic.accidents import (
    Aftermath,
    Campaign,
    RandomKills,
    Writer,
    hidden,
    seen,
    without_links,
    without_swap,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills are signals of POSIX")


def recover_package(folder: Path) -> None:
    recover_folder(folder / "x.mlpackage")


def state(scratch: Path, *steps: Writer) -> dict[str, bytes]:
    """Return what lies in a folder after writers that meet no accident."""
    scratch.mkdir()
    for step in steps:
        step(scratch)
    return seen(scratch)


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Connection]:
    """A process with one thread, from which the writers that meet accidents are forked."""
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=accidents.serve, args=(there,), daemon=True)
    process.start()
    there.close()
    yield here
    here.close()
    process.join()


def aftermaths(laboratory: Connection, *campaign: Any) -> list[Aftermath]:
    laboratory.send(Campaign(*campaign))
    found: list[Aftermath] = laboratory.recv()
    return found


SETS = {
    "a report over a report": (writers.old_report, writers.red_report, recover_set, 25),
    "a first report": (writers.nothing, writers.red_report, recover_set, 20),
    "a set that has grown": (writers.old_three, writers.new_three, recover_set, 20),
    "stems over a stem": (writers.old_stems, writers.new_stems, recover_set, 20),
    "a package over a package": (writers.old_package, writers.new_package, recover_package, 10),
}


@pytest.mark.parametrize("accident", ["kill", "full", "once"])
@pytest.mark.parametrize("name", SETS)
def test_a_reader_finds_the_files_of_one_writer(
    laboratory: Connection, name: str, accident: str, tmp_path: Path
) -> None:
    """A red document beside a green page, or the drums of one song beside another's bass."""
    prepare, write, recover, steps = SETS[name]
    before = state(tmp_path / "before", prepare)
    after = state(tmp_path / "after", prepare, write)
    (tmp_path / "scratch").mkdir()
    found = aftermaths(laboratory, accident, prepare, write, recover, tmp_path / "scratch")
    assert len(found) >= steps, "the accidents missed the writer"
    sides = {"before": 0, "after": 0}
    for one in found:
        assert one.files in (before, after), f"{accident} before change {one.event}"
        assert one.recovered == one.files, "recovery is a change that a reader sees"
        assert one.hidden_after == (), "what a kill left is found by nobody"
        if accident == "full":
            assert one.hidden == (), "a writer that lives did not clean up"
        if accident != "kill":
            assert bool(one.error) == (one.files == before), "the writer is wrong about what it did"
        sides["before" if one.files == before else "after"] += 1
    assert sides["before"] > 0, "no accident came before the change"
    assert sides["after"] > 0 or accident == "full", "no accident came after the change"


@pytest.mark.exhaustive
def test_a_hundred_kills_of_a_report_leave_no_mixed_set(
    laboratory: Connection, tmp_path: Path
) -> None:
    """The steps of the other tests are those that Python announces; a kill comes between, too."""
    green = state(tmp_path / "green", writers.old_report)
    red = state(tmp_path / "red", writers.old_report, writers.red_report)
    state(tmp_path / "out", writers.old_report)
    turns = (writers.green_report, writers.red_report)
    laboratory.send(RandomKills(turns, tmp_path / "out", 100, seed=5, longest_s=0.2))
    found = laboratory.recv()
    assert [files for files, _ in found if files not in (green, red)] == []
    assert {tuple(files) for files, _ in found} == {tuple(green)}
    assert sum(files == red for files, _ in found) > 10
    assert sum(bool(names) for _, names in found) > 10, "the kills missed the writing"
    recover_set(tmp_path / "out")
    assert hidden(tmp_path / "out") == ()


def test_without_links_a_kill_leaves_a_part_of_one_set(
    laboratory: Connection, tmp_path: Path
) -> None:
    """A USB stick has no links; half a report is honest there, parts of two are not."""
    before = state(tmp_path / "before", writers.old_report)
    after = state(tmp_path / "after", writers.old_report, writers.red_report)
    (tmp_path / "scratch").mkdir()
    write = functools.partial(without_links, writers.red_report)
    found = aftermaths(
        laboratory, "kill", writers.old_report, write, recover_set, tmp_path / "scratch"
    )
    assert len(found) >= 20
    for one in found:
        assert any(one.files.items() <= side.items() for side in (before, after))
        assert writers.MINE.items() <= one.files.items()
        assert one.recovered in (before, after), "the next writer did not complete the set"
        assert one.hidden_after == ()


def test_without_a_swap_recovery_brings_the_package_back(
    laboratory: Connection, tmp_path: Path
) -> None:
    """Between two renames a package is away: the next command has to find it again."""
    before = state(tmp_path / "before", writers.old_package)
    after = state(tmp_path / "after", writers.new_package)
    (tmp_path / "scratch").mkdir()
    write = functools.partial(without_swap, writers.new_package)
    found = aftermaths(
        laboratory, "kill", writers.old_package, write, recover_package, tmp_path / "scratch"
    )
    assert {} in [one.files for one in found], "the moment between the renames was not met"
    assert all(one.files in ({}, before, after) for one in found)
    assert all(one.recovered in (before, after) for one in found)


def test_a_writer_that_lives_is_not_cleaned_away(tmp_path: Path) -> None:
    """Two commands that write into one folder: the second must not take the first for dead."""
    with (
        atomic_set(tmp_path) as first,
        atomic_file(tmp_path / "page.html") as file,
        atomic_folder(tmp_path / "x.mlpackage", PACKAGE) as folder,
    ):
        for path in (first / "a", file, folder / "Manifest.json"):
            path.write_text("slow")
        writers.new_three(tmp_path)
        writers.new_package(tmp_path)
        write_text(tmp_path / "page.html", "fast")
        assert seen(tmp_path)["a"] == b"new a"
        assert seen(tmp_path)["page.html"] == b"fast"
    expected = {"a": b"slow", "b": b"new b", "c": b"new c", "page.html": b"slow"}
    assert seen(tmp_path) == expected | {"x.mlpackage/Manifest.json": b"slow"}


def test_the_next_writer_removes_what_a_kill_left_and_nothing_else(tmp_path: Path) -> None:
    """A folder that fills with hidden halves, or a file of the user's that looks like one."""
    mine = {".page.notes.html", ".page.part.html", ".other.abcdefgh.part.html", ".set.old"}
    for name in {*mine, ".page.abcdefgh.part.html"}:
        (tmp_path / name).write_text("")
    write_text(tmp_path / "page.html", "new")
    assert {path.name for path in tmp_path.iterdir()} == {*mine, "page.html"}


def test_a_folder_in_the_way_is_no_set(tmp_path: Path) -> None:
    """A folder named like the page is the user's: nothing of the set may appear beside it."""
    writers.put(tmp_path, {"b/mine": b"kept", "a": b"old a"})
    with pytest.raises(OSError, match="directory"):
        writers.new_three(tmp_path)
    assert seen(tmp_path) == {"a": b"old a", "b/mine": b"kept"}
    assert hidden(tmp_path) == ()


def test_files_get_the_permissions_that_the_user_asks_for(tmp_path: Path) -> None:
    """A report that only its writer can read is none for the web server beside it."""
    old = os.umask(0o022)
    try:
        writers.new_three(tmp_path)
        write_text(tmp_path / "d", "")
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}
