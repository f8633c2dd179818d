"""Writers of several files at once, each with the old state that it writes over."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.atomic import atomic_folder, atomic_set
from harness.atomic.products import PACKAGE
from harness.audio.writers import StemWriter
from harness.report import write_report
from harness.verdicts import Profile, Run

RUN = Run(profile=Profile("example", layers=(), engines=()), checks=(), started="2026-01-01")
RED = Run(profile=RUN.profile, checks=(), problems=("a worker died",), started="2026-01-02")
MINE = {"notes.txt": b"mine", "figures/plot.png": b"mine, too"}
"""Files of the user in the same folder."""
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


def put(folder: Path, files: dict[str, bytes]) -> None:
    """Write files as anybody would."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def nothing(folder: Path) -> None:
    """Leave the folder empty."""


def old_report(folder: Path) -> None:
    """Make a green report in a folder of the user's."""
    put(folder, MINE)
    green_report(folder)


def green_report(folder: Path) -> None:
    """Write a green report."""
    write_report(RUN, folder)


def red_report(folder: Path) -> None:
    """Write a red report."""
    write_report(RED, folder)


def old_three(folder: Path) -> None:
    """Make two of three files, as a set that has grown since."""
    put(folder, {**MINE, "a": b"old a", "c": b"old c"})


def new_three(folder: Path) -> None:
    """Write three files."""
    with atomic_set(folder) as fresh:
        put(fresh, {"a": b"new a", "b": b"new b", "c": b"new c"})


def old_stems(folder: Path) -> None:
    """Make one stem, and what else a user keeps there."""
    put(folder, {**MINE, "bass.wav": b"old bass"})


def new_stems(folder: Path) -> None:
    """Separate a song."""
    with StemWriter(folder, ("bass", "drums")) as writer:
        writer.write(np.zeros((2, 2, 100), np.float32))


def old_package(folder: Path) -> None:
    """Make a package."""
    put(folder / "x.mlpackage", {"Manifest.json": b"old", WEIGHTS: b"old weights"})


def new_package(folder: Path) -> None:
    """Convert over it."""
    with atomic_folder(folder / "x.mlpackage", PACKAGE) as fresh:
        put(fresh, {"Manifest.json": b"new", WEIGHTS: b"new weights"})
