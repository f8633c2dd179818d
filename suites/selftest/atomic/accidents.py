"""Accidents at every step of a writer: a kill, a full disk, a disk that fails once.

A campaign runs a writer again and again over the same old files, each time with the accident one
change of the file system later, until one run ends without meeting it. Python announces each change
(`sys.addaudithook`) before it is made, so none is left out: opening for writing, renaming, linking,
removing, making folders. Each run is a process of its own, forked from one that is ready to write.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import ParityError

Writer = Callable[[Path], object]
Files = Mapping[str, bytes]
"""Name -> content of every file that a reader finds under a folder; links are followed."""

_CHANGES = {"os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.mkdir", "os.chmod"}
_NEEDS_SPACE = {"open", "os.link", "os.symlink", "os.mkdir"}


@dataclass(frozen=True)
class Aftermath:
    """What one accident left.

    Attributes:
        event: the change before which it came.
        files: what a reader finds.
        hidden: temporary names that are left.
        recovered: what a reader finds after the next writer's recovery.
        hidden_after: temporary names that are left then.
        error: what the writer raised; empty after a kill.
    """

    event: int
    files: Files
    hidden: tuple[str, ...]
    recovered: Files
    hidden_after: tuple[str, ...]
    error: str


def seen(folder: Path) -> dict[str, bytes]:
    """Return what a reader finds under ``folder``, who does not look at hidden names."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.parts)
    }


def hidden(folder: Path) -> tuple[str, ...]:
    """Return the hidden names in ``folder``."""
    return tuple(sorted(path.name for path in folder.iterdir() if path.name.startswith(".")))


@dataclass(frozen=True)
class Campaign:
    """What meets its accidents.

    Attributes:
        accident: ``kill``, ``full`` (no space from that step on), or ``once`` (one step fails).
        prepare: makes the old state in an empty folder.
        write: writes over it.
        recover: what the next writer does first.
        scratch: an empty folder to work in.
    """

    accident: str
    prepare: Writer
    write: Writer
    recover: Writer
    scratch: Path

    def run(self) -> list[Aftermath]:
        """Return what each accident left."""
        return list(_aftermaths(self))


@dataclass(frozen=True)
class RandomKills:
    """A folder in which two writers take turns, killed at random moments.

    Attributes:
        writers: write over each other, again and again.
        folder: what they write over.
        count: of kills.
        seed: of the moments.
        longest_s: until a kill.
    """

    writers: tuple[Writer, Writer]
    folder: Path
    count: int
    seed: int
    longest_s: float

    def run(self) -> list[tuple[Files, tuple[str, ...]]]:
        """Return what a reader finds after each kill, and the hidden names beside it."""
        moments, found = random.Random(self.seed), []
        for writer in self.writers:  # what is made once is made here
            writer(self.folder)
        for _ in range(self.count):
            child = os.fork()
            while child == 0:
                for writer in self.writers:
                    writer(self.folder)
            time.sleep(moments.uniform(0.0, self.longest_s))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            found.append((seen(self.folder), hidden(self.folder)))
        return found


def serve(pipe: Any) -> None:
    """Run each `Campaign` or `RandomKills` that comes through ``pipe``, and send what it found."""
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        pipe.send(asked.run())


def _aftermaths(asked: Campaign) -> Iterator[Aftermath]:
    for event in range(-1, 10_000):
        folder = asked.scratch / str(event)
        folder.mkdir()
        asked.prepare(folder)
        if event < 0:
            asked.write(folder)  # what is made once, like compiled templates, is made here
            continue
        error, ended = _one(asked.accident, asked.write, folder, event)
        if ended:
            return
        files, names = seen(folder), hidden(folder)
        asked.recover(folder)
        yield Aftermath(event, files, names, seen(folder), hidden(folder), error)
        shutil.rmtree(folder)
    raise AssertionError("the writer has no end")


def _one(accident: str, write: Writer, folder: Path, event: int) -> tuple[str, bool]:
    """Return what the writer raised, and whether it ended without meeting the accident."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _write_and_exit(accident, write, folder, event, writer)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as told:
        error = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, 3, -signal.SIGKILL):
        raise AssertionError(f"the writer ended with {status}: {error}")
    return error, status == 0


def _write_and_exit(accident: str, write: Writer, folder: Path, event: int, pipe: int) -> NoReturn:
    code = 7
    try:
        met = _arm(accident, event)
        write(folder)
        code = 3 if met() else 0
    except (OSError, ParityError) as error:
        os.write(pipe, str(error).encode())
        code = 3
    finally:
        os._exit(code)  # the end of a child, not of its parent's tests


def _arm(accident: str, event: int) -> Callable[[], bool]:
    left = event

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        flags = arguments[2] if name == "open" else 0
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writes and name not in _CHANGES:
            return
        left -= 1
        if left >= 0:
            return
        if accident == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif accident == "full" and name in _NEEDS_SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif accident == "once" and left == -1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    sys.addaudithook(hook)
    return lambda: left < 0


def without_links(write: Writer, folder: Path) -> None:
    """Write as on a file system that has neither symbolic nor hard links."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    os.symlink = os.link = refuse
    write(folder)


def without_swap(write: Writer, folder: Path) -> None:
    """Write as on a system that can't swap two folders."""
    ctypes.CDLL = lambda *_, **__: None  # type: ignore[assignment,misc]
    write(folder)
