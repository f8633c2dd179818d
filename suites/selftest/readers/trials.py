"""Trials of a reader: damage a file, read it, and judge how that ended.

A reader may take what it is given or refuse it with one of this project's errors, in one printable
sentence of under 500 characters, soon, and without much memory. All else raises AssertionError.
"""

from __future__ import annotations

import random
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import ParityError
from suites.selftest.readers.mutators import mutate
from suites.selftest.readers.readers import Reader

MEMORY_BYTES = 512 << 20
"""How far a reader of a small file may raise the peak of the process."""
PATIENCE_S = 60
"""When a reader counts as hanging: a thousand times what it takes."""
LONGEST_MESSAGE = 500


@dataclass
class Tally:
    """How the trials of one reader ended."""

    reader: str
    mutants: int = 0
    refused: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    peak_bytes: int = 0


TALLIES = pytest.StashKey[dict[str, Tally]]()
"""Where a session keeps them, for its summary."""


class Bench:
    """Sound files of one reader, and what happens when one of them is another.

    Args:
        reader: the reader.
        folder: an empty folder.
    """

    def __init__(self, reader: Reader, folder: Path) -> None:
        self.reader, self.folder = reader, folder
        reader.make(folder)
        self.files = {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        self.tally = Tally(reader.name)
        self.read_all()  # what is loaded once counts for no mutant
        self.before = reset_peak()

    def read_all(self) -> None:
        """Read every file, each of which is sound."""
        for name in self.files:
            self.reader.read(self.folder, name)

    def mutant(self, seed: int) -> None:
        """Try the mutant of this number."""
        chance = random.Random(seed)
        name = chance.choice([name for name, data in self.files.items() if data])
        self.tally.mutants += 1
        self.content(name, mutate(name, self.files[name], chance), f"mutant {seed}")

    def content(self, name: str, data: bytes, what: str) -> str:
        """Read with ``data`` as the content of a file; return what a refusal says, or nothing."""
        path = self.folder / name
        path.write_bytes(data)
        try:
            return self.read(name, what)
        finally:
            path.write_bytes(self.files[name])

    def read(self, name: str, what: str) -> str:
        """Read what is there now; return what the refusal says, empty if there is none."""
        with self._within_bounds(f"{self.reader.name}, {name}, {what}"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as on the command line, where they are lines
            try:
                self.reader.read(self.folder, name)
            except ParityError as error:
                self.tally.refused += 1
                return judged(str(error))
        self.tally.accepted += 1
        return ""

    @contextmanager
    def _within_bounds(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(PATIENCE_S)
        try:
            yield
        except (Exception, Hang) as error:
            raise AssertionError(f"{what}: ended in {type(error).__name__}: {error}") from error
        finally:
            signal.alarm(0)
        grown = peak() - self.before
        assert grown < MEMORY_BYTES, f"{what}: took {grown >> 20} MiB"
        self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - started)
        self.tally.peak_bytes = max(self.tally.peak_bytes, grown)


def judged(message: str) -> str:
    """Return ``message``, which must be one printable sentence."""
    assert message
    assert len(message) < LONGEST_MESSAGE, len(message)
    assert message.isprintable(), ascii(message)
    return message


class Hang(BaseException):
    """A reader is still reading; no Exception, because a reader may turn those into a refusal."""


def _hangs(*_: object) -> None:
    raise Hang(f"still reading after {PATIENCE_S} s")


_STATUS = Path("/proc/self/status")


def reset_peak() -> int:
    """Forget how much memory this process had at most; return how much it has, in bytes."""
    if not _STATUS.exists():  # not Linux: only hangs and errors are seen
        return 0
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """Return the most memory, in bytes, that was resident since `reset_peak`."""
    if not _STATUS.exists():
        return 0
    line = next(row for row in _STATUS.read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) << 10
