"""One folder that appears whole or not at all, and replaces another as a whole."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.atomic.products import Product
from harness.atomic.workspace import left_folders, new_folder

_HERE = -100  # AT_FDCWD: paths are relative to the working folder
_SWAP = 2  # RENAME_EXCHANGE of Linux and RENAME_SWAP of macOS


@contextmanager
def atomic_folder(target: Path, kind: Product) -> Iterator[Path]:
    """Yield a new folder beside ``target``; on success it replaces an earlier one of its kind.

    Linux and macOS swap two folders in one step. Where a file system can't, two renames follow each
    other; a kill between them leaves the old folder under a hidden name, from which
    `recover_folder` and the next writer bring it back.

    Raises:
        ParityError: ``target`` holds something else, before or after the folder was written.
        OSError: the disk is full or the folder can't be written; ``target`` is as it was.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(target)
    kind.check(target)
    with new_folder(target.parent, target.name) as workspace:
        fresh = workspace / f"new{target.suffix}"
        try:
            fresh.mkdir()
            yield fresh
            kind.finish(fresh)
            kind.check(target)  # again: it took a while
            if not os.path.lexists(target):
                fresh.rename(target)
            elif not _swapped(fresh, target):
                target.rename(_old(workspace, target))
                fresh.rename(target)
        finally:
            _tidy(workspace, target)


def recover_folder(target: Path) -> None:
    """Remove what killed writers of ``target`` left, and bring ``target`` back if it is away."""
    for workspace in left_folders(target.parent, target.name):
        _tidy(workspace, target)


def _old(workspace: Path, target: Path) -> Path:
    return workspace / f"old{target.suffix}"


def _tidy(workspace: Path, target: Path) -> None:
    old = _old(workspace, target)
    if os.path.lexists(old) and not os.path.lexists(target):
        old.rename(target)
    shutil.rmtree(workspace, ignore_errors=True)


def _swapped(one: Path, other: Path) -> bool:
    """Swap two paths in one step, and return whether the system could."""
    library: Any = ctypes.CDLL(None) if os.name == "posix" else None
    names = os.fsencode(one), os.fsencode(other)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        return bool(library.renameat2(_HERE, names[0], _HERE, names[1], _SWAP) == 0)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        return bool(library.renamex_np(*names, _SWAP) == 0)
    return False
