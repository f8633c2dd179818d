"""Files and folders that appear whole or not at all.

A writer works on a hidden sibling of the target and the last step is a rename, so a reader, a
second writer, Ctrl-C, a kill or a full disk never leaves half a file under the target's name, and
an older file stays until its successor is complete.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it replaces ``target``.

    The temporary name keeps the suffix of the target, because writers choose formats by suffix.

    Raises:
        OSError: the disk is full or the folder can't be written; ``target`` is as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files
        _flush_to_disk(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target``; on success it replaces ``target`` (file or folder).

    Replacing an existing folder is a rename of the old one, then of the new one: a kill between
    the two leaves the old one under a hidden name, never a mixture.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{target.stem}.", dir=target.parent))
    fresh, old = workspace / f"new{target.suffix}", workspace / f"old{target.suffix}"
    fresh.mkdir()
    try:
        yield fresh
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``target``, atomically."""
    with atomic_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
