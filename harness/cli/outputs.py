"""Where commands write: refused at once where it can't be, before anything is opened or computed.

An option that names an output (`file_option`, `folder_option`) has one of these checks as its
``callback``, which Typer calls while it reads the command line. Folders on the way are made by the
writers, so a missing one is no error; one that can't be made is.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import typer

from harness.atomic.products import ASSET, PACKAGE, Product
from harness.errors import ParityError

Check: TypeAlias = Callable[[Path | None], Path | None]
"""Returns the path that it was given, or raises `ParityError`: it can't be written there."""

_ROOM_BYTES: Final = 16 << 20
"""Beside what a command says that it needs."""


def output_file(*suffixes: str, package: bool = False) -> Check:
    """Return the check of a file that is to be written, or of a package, which is a folder.

    Args:
        suffixes: one of which the name must end in; any name will do if there are none.
        package: whether an earlier package may stand there, a folder, which is replaced.
    """

    def check(value: Path | None) -> Path | None:
        if value is None:
            return None
        if suffixes and value.suffix.lower() not in suffixes:
            wanted = " or ".join(suffixes)
            raise ParityError(f"can't write {value}: the name must end in {wanted}")
        if value.is_dir() and not package:
            raise ParityError(f"can't write {value}: it is a folder; name a file in it")
        if value.exists() and not (value.is_file() or value.is_dir()):
            raise ParityError(f"can't write {value}: it is a device or a pipe; name a file")
        _check_place(value, value.parent)
        if package:
            (ASSET if value.suffix.lower() == ".aimodel" else PACKAGE).check(value)
        return value

    return check


def output_folder(kind: Product | None = None) -> Check:
    """Return the check of a folder that is to be written, as a ``kind``, or added to."""

    def check(value: Path | None) -> Path | None:
        if value is None:
            return None
        if os.path.lexists(value) and not value.is_dir():
            raise ParityError(f"can't write to {value}: it is a file; name a folder")
        _check_place(value, value)
        if kind is not None:
            kind.check(value)
        return value

    return check


def file_option(help: str, *suffixes: str, option: str = "--out", package: bool = False) -> Any:
    """Return the option that names a file to write; ``suffixes`` and ``package`` as above."""
    return typer.Option(option, callback=output_file(*suffixes, package=package), help=help)


def folder_option(help: str, *, option: str = "--out", kind: Product | None = None) -> Any:
    """Return the option that names a folder to write, as a ``kind``, or to add to."""
    return typer.Option(option, callback=output_folder(kind), help=help)


def check_room(target: Path, needed_bytes: int) -> None:
    """Check that a disk has room for what will be written.

    Raises:
        ParityError: it has not.
    """
    free = shutil.disk_usage(_existing(target)).free
    if free < needed_bytes + _ROOM_BYTES:
        raise ParityError(
            f"{target} takes about {needed_bytes / 1e9:.2f} GB, and its disk has "
            f"{free / 1e9:.2f} GB left; make room, name another disk, or ask for less"
        )


def _check_place(value: Path, folder: Path) -> None:
    """Check that ``folder`` is there, or can be made, and takes new files."""
    try:
        found = _existing(folder)
        is_folder = found.is_dir()
        if is_folder and os.access(found, os.W_OK | os.X_OK):
            with tempfile.TemporaryFile(dir=found):  # /proc says that it can be written to
                return
    except OSError as error:
        words = os.strerror(error.errno or errno.EIO)
        raise ParityError(f"can't write {value}: {words}") from error
    if not is_folder:
        raise ParityError(f"can't write {value}: {found} is a file, not a folder")
    raise ParityError(f"can't write {value}: the folder {found} can't be written to")


def _existing(path: Path) -> Path:
    """Return the nearest of a path and its parents that is there."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if os.path.lexists(place))
