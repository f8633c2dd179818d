"""Hidden names beside a target, and whether who works under them still lives.

A writer claims its temporary file or folder: it holds a lock on it as long as it works. The
operating system frees it however the writer ends, so what nobody holds was left by a kill. Where a
file system has no locks, and on Windows, nothing is held, and `claim` says so.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_RANDOM = "[a-z0-9_]{8}"  # what `tempfile` draws


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield an empty file beside ``target`` with its suffix, held by this writer."""

    def make() -> str:
        ending = f".part{target.suffix}"
        descriptor, name = tempfile.mkstemp(ending, f".{target.stem}.", target.parent)
        os.close(descriptor)
        return name

    with _held(make) as path:
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def new_folder(parent: Path, name: str) -> AbstractContextManager[Path]:
    """Return an empty folder in ``parent``, held by this writer; who makes it removes it."""
    return _held(lambda: tempfile.mkdtemp(".part", f".{name}.", parent))


@contextmanager
def _held(make: Callable[[], str]) -> Iterator[Path]:
    with ExitStack() as stack:
        while True:
            path = Path(make())
            if stack.enter_context(claim(path, wait=True)) or path.exists():
                break  # else a cleaner took it for a leftover, before it was held
        yield path


def left_files(target: Path) -> Iterator[Path]:
    """Yield what killed writers of the file ``target`` left, each held while it is looked at."""
    pattern = rf"\.{re.escape(target.stem)}\.{_RANDOM}\.part{re.escape(target.suffix)}"
    yield from _unclaimed(target.parent, pattern, folders=False)


def left_folders(parent: Path, name: str) -> Iterator[Path]:
    """Yield the folders of `new_folder` that killed writers left, each held meanwhile."""
    yield from _unclaimed(parent, rf"\.{re.escape(name)}\.{_RANDOM}\.part", folders=True)


def _unclaimed(parent: Path, pattern: str, *, folders: bool) -> Iterator[Path]:
    with os.scandir(parent) as entries:
        names = [
            entry.name
            for entry in entries
            if re.fullmatch(pattern, entry.name) and entry.is_dir(follow_symlinks=False) is folders
        ]
    for name in sorted(names):
        with claim(parent / name) as held:
            if held:
                yield parent / name


@contextmanager
def claim(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the file or folder at ``path`` itself, if nobody else does.

    Yields whether it is held: ``False`` if another holder lives, if it is gone, or if it can't be
    locked, as on some network disks. So what nobody is known to have left is left alone.

    Args:
        path: of the file or folder.
        wait: as long as another holder has it, instead.
    """
    descriptor, held = -1, False
    try:
        # Not on Windows: a locked byte would keep its own writer out, and folders have none.
        if sys.platform != "win32":
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY)
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                held = os.path.samestat(path.stat(), os.fstat(descriptor))
        yield held
    finally:
        if descriptor >= 0:
            os.close(descriptor)
