"""Objects named by their content, and names that lead to them.

::

    URL/objects/ab/abcdef...        the bytes whose SHA-256 is abcdef...
    URL/names/KIND/KEY              which object that is: its SHA-256, its size, a checksum of both
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from harness.atomic import atomic_file
from harness.digests import sha256
from harness.errors import StoreError, command_line
from harness.places import generated
from harness.store.remote import Remote

CACHE: Final = generated("build/store")
KINDS: Final = ("goldens", "packages", "results")
_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,199}")
_NAME: Final = re.compile(r"([0-9a-f]{64}) (\d{1,15}) ([0-9a-f]{64})\n")


@dataclass(frozen=True)
class Store:
    """Kept files, here and in a place that machines share; it can be pickled.

    Attributes:
        url: a folder, or a URL of fsspec.
        cache: the folder of this machine's copies.
    """

    url: str
    cache: Path

    @cached_property
    def remote(self) -> Remote:
        """The far side."""
        return Remote(self.url)

    def __getstate__(self) -> dict[str, object]:
        """Return what another process needs: a connection belongs to its process."""
        return {"url": self.url, "cache": self.cache}

    def keep(self, kind: str, key: str, content: bytes) -> None:
        """Keep ``content`` under a kind and a key, unless something is kept there.

        Raises:
            StoreError: the store can't be reached or written.
        """
        name = name_path(kind, key)
        digest = hashlib.sha256(content).hexdigest()
        self._keep_here(digest, content)
        self.remote.write(object_path(digest), content)  # before its name: no name leads nowhere
        self.remote.write(name, _name_text(name, digest, len(content)))

    def has(self, kind: str, key: str) -> bool:
        """Return whether something is kept under a kind and a key.

        Raises:
            StoreError: the store can't be reached.
        """
        return self.remote.read(name_path(kind, key)) is not None

    def find(self, kind: str, key: str) -> Path | None:
        """Return the file that is kept under a kind and a key, in the cache; None if none is.

        Raises:
            StoreError: the store can't be reached, or has other bytes than were kept; the message
                names what.
        """
        name = name_path(kind, key)
        text = self.remote.read(name)
        if text is None:
            return None
        digest, size = read_name(self.url, name, text)
        here = self._here(digest)
        if here.is_file() and sha256(here) == digest:
            return here
        content = self.remote.read(object_path(digest))
        if content is None:
            raise self._damaged(digest, f"is gone, and {name} leads to it")
        if len(content) != size or hashlib.sha256(content).hexdigest() != digest:
            raise self._damaged(digest, f"has other bytes than were kept as {name}")
        self._keep_here(digest, content)
        return here

    def _here(self, digest: str) -> Path:
        return self.cache / object_path(digest)

    def _keep_here(self, digest: str, content: bytes) -> None:
        with atomic_file(self._here(digest)) as temporary:
            temporary.write_bytes(content)

    def _damaged(self, digest: str, what: str) -> StoreError:
        return StoreError(
            f"{object_path(digest)} of the store {self.url} {what}; nothing of it was used: remove "
            f"it with: {command_line('store', 'gc', self.url, '--verify')}"
        )


def object_path(digest: str) -> str:
    """Return where the object of a SHA-256 is."""
    return f"objects/{digest[:2]}/{digest}"


def name_path(kind: str, key: str) -> str:
    """Return where the name of a kind and a key is.

    Raises:
        StoreError: there is no such kind, or the key can't be a name.
    """
    if kind not in KINDS or not _KEY.fullmatch(key):
        raise StoreError(f"{kind}/{key} can't be kept: expected a kind of {', '.join(KINDS)}")
    return f"names/{kind}/{key}"


def read_name(url: str, name: str, text: bytes) -> tuple[str, int]:
    """Return the digest and the size in bytes that a name leads to.

    Raises:
        StoreError: its checksum is wrong.
    """
    found = _NAME.fullmatch(text.decode("ascii", "replace"))
    if found is None or text != _name_text(name, found[1], int(found[2])):
        raise StoreError(
            f"{name} of the store {url} has other bytes than were written; nothing of it was used: "
            f"remove it with: {command_line('store', 'gc', url, '--verify')}"
        )
    return found[1], int(found[2])


def _name_text(name: str, digest: str, size: int) -> bytes:
    told = f"{digest} {size}"
    return f"{told} {hashlib.sha256(f'{name} {told}'.encode()).hexdigest()}\n".encode()


def open_store(url: str) -> Store:
    """Return the store at ``url``, with this machine's cache.

    Raises:
        StoreError, MissingExtraError: there is no such store, or no driver for it.
    """
    store = Store(url if "://" in url else str(Path(url).absolute()), CACHE.absolute())
    assert store.remote  # what is wrong with the URL is said before work begins
    return store
