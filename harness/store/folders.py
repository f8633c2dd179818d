"""A folder as one object: a tar archive that depends on names and bytes alone."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath

from harness.atomic import atomic_folder
from harness.atomic.products import PACKAGE
from harness.digests import digest_of
from harness.errors import StoreError


def pack_folder(folder: Path) -> bytes:
    """Return the regular files of ``folder`` as an uncompressed tar archive.

    Raises:
        PackageError: it has something else in it, or nothing.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(digest_of(folder).files):
            content = (folder / name).read_bytes()
            row = tarfile.TarInfo(name)
            row.size = len(content)
            archive.addfile(row, io.BytesIO(content))
    return packed.getvalue()


def unpack_folder(archive: Path, target: Path) -> None:
    """Write what `pack_folder` packed to the folder ``target``, which appears whole or not at all.

    Raises:
        StoreError: it is no archive of regular files that stay inside the folder.
    """
    try:
        with tarfile.open(archive, mode="r:") as packed, atomic_folder(target, PACKAGE) as fresh:
            for row in packed:
                path = PurePosixPath(row.name)
                file = packed.extractfile(row) if row.isreg() else None
                if file is None or path.is_absolute() or ".." in path.parts:
                    raise StoreError(f"{archive} has {row.name!r}, which is no file of a package")
                out = fresh / path
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_bytes(file.read())
    except tarfile.TarError as error:
        raise StoreError(f"{archive} is no packed folder ({error})") from error
