"""What a store holds, and the removal of what nobody needs any more.

An object without a name is garbage, but only after `GRACE`: a writer sends the object first, and
its name after it. Names are removed only if they are older than somebody says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import Final

from harness.errors import StoreError
from harness.store.objects import KINDS, Store, read_name

GRACE: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Holdings:
    """What a store holds.

    Attributes:
        names: how many names of each kind.
        objects, bytes: how many objects, and their size together.
    """

    names: Mapping[str, int]
    objects: int
    bytes: int


@dataclass(frozen=True)
class Collected:
    """What was removed, or would be.

    Attributes:
        names: by path: what was old, or damaged, or led to something damaged or gone.
        objects: by path: what nothing led to, or was damaged.
        bytes: of these objects together.
        damaged: the paths whose bytes were wrong, and of names that led nowhere.
    """

    names: tuple[str, ...]
    objects: tuple[str, ...]
    bytes: int
    damaged: tuple[str, ...]


def holdings(store: Store) -> Holdings:
    """Return what ``store`` holds.

    Raises:
        StoreError: it can't be listed.
    """
    names = dict.fromkeys(KINDS, 0)
    for path, _, _ in store.remote.walk("names"):
        kind = PurePosixPath(path).parts[1]
        names[kind] = names.get(kind, 0) + 1
    sizes = [size for _, size, _ in store.remote.walk("objects")]
    return Holdings(names, len(sizes), sum(sizes))


def collect(
    store: Store,
    *,
    older_than: timedelta | None = None,
    verify: bool = False,
    dry: bool = False,
    now: datetime | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> Collected:
    """Remove what is garbage.

    Args:
        store: where.
        older_than: names that are older are removed; None keeps all of them.
        verify: read every object, and remove those whose bytes are wrong, with their names, and
            names whose object is gone.
        dry: only say what would be removed.
        now: the time by which ages are told.
        advance: called as ``advance(done, total)`` while objects are read.

    Raises:
        StoreError: the store can't be listed, read or written.
    """
    moment = now or datetime.now(timezone.utc)
    names, objects = list(store.remote.walk("names")), list(store.remote.walk("objects"))
    damaged: set[str] = set()
    if verify:
        for number, (path, _, _) in enumerate(objects, 1):
            content = store.remote.read(path)
            name = PurePosixPath(path).name
            if content is not None and hashlib.sha256(content).hexdigest() != name:
                damaged.add(path)
            if advance is not None:
                advance(number, len(objects))
    bad = {PurePosixPath(path).name for path in damaged}
    # Objects were listed after the names, so those of all names are among them.
    there = {"", *(PurePosixPath(path).name for path, _, _ in objects)}
    gone, wanted = [], set()
    for path, _, written in names:
        digest = _leads_to(store, path)
        if digest is None and not verify:
            raise StoreError(f"{path} of the store {store.url} is damaged; run with --verify")
        lost = verify and digest not in there
        if lost:
            damaged.add(path)
        old = older_than is not None and moment - written > older_than
        if old or lost or digest is None or digest in bad:
            gone.append(path)
        else:
            wanted.add(digest)
    garbage = [
        (path, size)
        for path, size, written in objects
        if path in damaged or (PurePosixPath(path).name not in wanted and moment - written > GRACE)
    ]
    if not dry:
        for path in gone:  # before their objects: no name leads nowhere
            store.remote.remove(path)
        for path, _ in garbage:
            store.remote.remove(path)
    paths = tuple(path for path, _ in garbage)
    return Collected(tuple(gone), paths, sum(size for _, size in garbage), tuple(sorted(damaged)))


def _leads_to(store: Store, path: str) -> str | None:
    """Return the digest that a name leads to; None if it is damaged, "" if it is gone by now."""
    text = store.remote.read(path)
    if text is None:
        return ""
    try:
        return read_name(store.url, path, text)[0]
    except StoreError:
        return None
