"""Every reader at places where no sound file is, and at sound files with any name."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest


def bind(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may have a hundred characters
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def grow(path: Path) -> None:
    path.touch()
    os.truncate(path, 4 << 40)


PLACES: dict[str, Callable[[Path], object]] = {
    "a pipe without a writer": os.mkfifo,
    "a socket": bind,
    "a device without an end": lambda path: path.symlink_to("/dev/zero"),
    "the standard input": lambda path: path.symlink_to("/dev/stdin"),
    "four terabytes of nothing": grow,
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path),
    "nothing": lambda path: None,
}
OPTIONAL = {"aaaaaaaa.th", "bbbbbbbb.th"}  # of a bag: which file it is, is found without opening it
MAY_BE_MISSING = {"metadata.json", "manifest.json", "ledger.json", "tiny.yaml"}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_sound_file_is_refused_at_once(bench, place):
    """Not read without an end, not waited for, not mapped into memory."""
    if bench.reader.name == "package metadata":
        return  # these are no files, but texts in a package
    for name in bench.files:
        path = bench.folder / name
        aside = path.rename(path.with_name("aside"))
        try:
            PLACES[place](path)
            refusal = bench.read(name, place)
        finally:
            if path.is_dir():
                path.rmdir()
            path.unlink(missing_ok=True)
            aside.rename(path)
        missing = place in ("nothing", "a link to itself") and path.name in MAY_BE_MISSING
        assert refusal or missing or path.name in OPTIONAL, f"{name} was taken"


NAMES = [
    b"\xff.",
    b"\xed\xa0\x80.",
    b"a\nb\x1b[2J.",
    b"[bold].",
    b"%s{0}.",
    b"x" * 200 + b".",
    "ü.".encode(),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_sound_files_with_any_name_are_read(bench, name):
    if not bench.reader.chosen:
        return
    for file, data in bench.files.items():
        path = bench.folder / os.fsdecode(name + os.fsencode(file.rpartition(".")[2]))
        path.write_bytes(data)
        try:
            assert bench.read(path.name, ascii(name)) == ""
            path.write_bytes(data[:3])
            assert bench.read(path.name, f"{name!r}, cut off")
        finally:
            path.unlink()
