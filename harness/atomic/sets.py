"""Several files of one folder that change together, whatever else lies in the folder.

POSIX renames one name at a time, so four files can't be exchanged by four renames. Here one rename
does it. The set is written in a hidden folder first. Then every visible name becomes a symbolic
link that leads through *one* further link, ``current``, to what the name held before, so nothing
changes yet for a reader. Renaming a new ``current`` over the old one changes all names at once. At
last each link is replaced by the file that it leads to, which again changes nothing for a reader::

    index.html -> .set.a1b2c3d4.part/current/index.html
    .set.a1b2c3d4.part/current -> old, and after the one rename that counts -> new

So at every moment the names hold the set before or the set after, whole. After a kill they may be
links; the next writer turns them into files again (`recover_set`). Where a file system has no
symbolic links, the old files go before the new ones come: a kill then leaves a part of one set,
which the next writer completes, but never parts of two.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from harness.atomic.files import flush_to_disk
from harness.atomic.workspace import claim, left_folders, new_folder

_NAME: Final = "set"
_NEW, _OLD, _CURRENT = "new", "old", "current"
_UNSUPPORTED: Final = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that have no links: FAT, some network disks."""


@contextmanager
def atomic_set(folder: Path) -> Iterator[Path]:
    """Yield a new folder; on success the files in it appear in ``folder`` together.

    They replace files of the same names; every other file of ``folder`` stays. Writers of one
    folder may work at the same time: their sets appear one after the other, each whole.

    Args:
        folder: made if it isn't there, and removed again if nothing comes of the set.

    Raises:
        OSError: the disk is full, the folder can't be written, or a folder stands where a file has
            to go; the files in ``folder`` are as they were.
    """
    folder = Path(folder)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        recover_set(folder)
        with new_folder(folder, _NAME) as store:
            try:
                (store / _NEW).mkdir()
                (store / _OLD).mkdir()
                yield store / _NEW
                for path in (store / _NEW).iterdir():
                    flush_to_disk(path)
                with claim(folder, wait=True):
                    try:
                        _publish(store, folder)
                    finally:
                        with suppress(OSError):  # the names are whole; the next writer goes on
                            _settle(store, folder)
            finally:
                _remove(store)
    except BaseException:
        if made:
            with suppress(OSError):  # somebody else has put something there meanwhile
                folder.rmdir()
        raise


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write each text as UTF-8 to the file of its name in ``folder``; they appear together."""
    with atomic_set(folder) as fresh:
        for name, text in texts.items():
            (fresh / name).write_text(text, encoding="utf-8")


def recover_set(folder: Path) -> None:
    """Finish or undo what killed writers of `atomic_set` began, and remove what they left."""
    if not folder.is_dir():
        return
    with claim(folder, wait=True):
        for store in left_folders(folder, _NAME):
            _settle(store, folder)
            _remove(store)


def _publish(store: Path, folder: Path) -> None:
    names = [path.name for path in (store / _NEW).iterdir()]
    for name in names:
        _keep(folder / name, store / _OLD / name)
    linked = _point(store, _OLD)
    for name in names:
        if linked:
            link = store / "link"
            link.symlink_to(Path(store.name, _CURRENT, name))
            link.replace(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    _point(store, _NEW)  # the one step in which all of them change


def _keep(visible: Path, kept: Path) -> None:
    """Give the file at ``visible`` a second name, or a copy where a file can have only one."""
    if not os.path.lexists(visible):
        return
    try:
        os.link(visible, kept, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (*_UNSUPPORTED, errno.EMLINK):
            raise
        shutil.copy2(visible, kept, follow_symlinks=False)


def _point(store: Path, side: str) -> bool:
    """Let ``current`` be one of the two sides; return whether names can lead through it."""
    coming = store / "coming"
    linked = True
    try:
        coming.symlink_to(side)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        linked = False
        coming.write_text(side, encoding="utf-8")
    coming.replace(store / _CURRENT)
    return linked


def _settle(store: Path, folder: Path) -> None:
    """Turn the names of the current side into files.

    Every step may be repeated, none changes what a reader sees, and a file that somebody has put
    under one of the names meanwhile stays.
    """
    current = store / _CURRENT
    if os.path.lexists(current):
        side = current.readlink() if current.is_symlink() else current.read_text("utf-8")
        for path in list((store / side).iterdir()):
            visible = folder / path.name
            if _leads_into(store, visible) or not os.path.lexists(visible):
                path.replace(visible)
        for path in list(folder.iterdir()):  # names that the current side does not have
            if _leads_into(store, path):
                path.unlink()
        current.unlink()


def _remove(store: Path) -> None:
    """Remove a store that no name leads into any more."""
    if not os.path.lexists(store / _CURRENT):
        shutil.rmtree(store, ignore_errors=True)


def _leads_into(store: Path, path: Path) -> bool:
    return path.is_symlink() and path.readlink().parts[:1] == (store.name,)
