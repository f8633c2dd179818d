"""SHA-256 of files and of folders, by which packages, results and goldens are named.

A folder's digest is ``dirHash`` of in-toto's digest sets (the Hash1 of Go modules), so that anybody
can compute it without this program::

    find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import PackageError

_CHUNK_BYTES = 1 << 20


def sha256(path: Path) -> str:
    """Return the SHA-256 of the content of a file, as hex.

    Raises:
        OSError: it can't be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class Digest:
    """What names the content of a file or of a folder.

    Attributes:
        algorithm: ``sha256`` of a file, ``dirHash`` of a folder.
        value: lowercase hex.
        files: the SHA-256 of each file of a folder, by its path in it.
    """

    algorithm: str
    value: str
    files: Mapping[str, str] = field(default_factory=dict)


def digest_of(path: Path) -> Digest:
    """Return the digest of the file or folder at ``path``.

    Raises:
        PackageError: there is nothing, a folder without files, or something in it that is no
            regular file or a link to one: a pipe, a link to a folder.
    """
    path = Path(path)
    if path.is_file():
        return Digest("sha256", sha256(path))
    files = {}
    for inner in sorted(path.rglob("*")) if path.is_dir() else ():
        name = inner.relative_to(path).as_posix()
        strange = inner.is_symlink() if inner.is_dir() else not inner.is_file()
        if strange or "\n" in name:
            raise PackageError(f"{path} has {name!r}, which has no digest; expected regular files")
        if inner.is_file():
            files[name] = sha256(inner)
    if not files:
        raise PackageError(f"{path} has no digest: expected a file, or a folder with files in it")
    lines = (f"{files[name]}  {name}\n" for name in sorted(files, key=str.encode))
    whole = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape"))
    return Digest("dirHash", whole.hexdigest(), files)
