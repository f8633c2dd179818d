"""The far side of a store: bytes by path, through fsspec, with every request repeated for a while.

What is told apart is absent (None) from unreachable (`StoreError`), because a store that can't be
asked must never look like one that is empty.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.atomic import atomic_file
from harness.errors import StoreError
from harness.extras import require_extra
from harness.locks import file_lock

ATTEMPTS: Final = 8
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0

_T = TypeVar("_T")
_OTHERS: Final = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
"""What drivers raise beside `OSError`, by the module that has it once the driver is imported."""


class Remote:
    """The files under a URL.

    Args:
        url: a folder, or ``PROTOCOL://...`` as fsspec takes it.

    Raises:
        StoreError: fsspec knows no such protocol.
        MissingExtraError: the protocol's driver is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        if "::" in url:
            raise StoreError(f"the store {url!r} is a chain of URLs; give one, such as s3://B/P")
        if url.startswith(("s3://", "s3a://")):
            require_extra("s3", f"the store {url}")
        self.url = url.rstrip("/")
        try:
            self._files, root = fsspec.core.url_to_fs(url, skip_instance_cache=True)
        except (ValueError, ImportError) as error:
            raise StoreError(
                f"the store {url!r} can't be opened ({error}); expected a folder, s3://BUCKET/PATH "
                "or another URL of fsspec"
            ) from error
        self._root = str(root).rstrip("/")

    @cached_property
    def _is_local(self) -> bool:
        return "file" in (self._files.protocol, *self._files.protocol)

    def read(self, path: str) -> bytes | None:
        """Return the content of the file at ``path``; None if there is none."""
        found: bytes | None = self._again("read", path, self._files.cat_file)
        return found

    def write(self, path: str, content: bytes) -> None:
        """Write a file unless there is one: what is there stays."""
        if self._is_local:  # fsspec would leave half a file behind a kill
            self._write_here(Path(self._root, path), content)
        else:
            self._again("written", path, lambda p: self._create(p, content))

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        self._again("removed", path, self._files.rm_file)

    def walk(self, folder: str) -> Iterator[tuple[str, int, datetime]]:
        """Yield the path, the size in bytes and the time of each file under a folder."""
        self._files.invalidate_cache()
        found = self._again("listed", folder, lambda p: self._files.find(p, detail=True)) or {}
        for name, row in sorted(found.items()):
            path = name.lstrip("/").removeprefix(self._root.lstrip("/")).lstrip("/")
            if not Path(path).name.startswith("."):  # of a writer that is at work
                yield path, int(row["size"]), _time(row)

    def _create(self, path: str, content: bytes) -> None:
        with suppress(FileExistsError):  # somebody was first, or an answer was lost on the way
            self._files.pipe_file(path, content, mode="create")

    def _write_here(self, target: Path, content: bytes) -> None:
        try:
            with file_lock(Path(self._root, ".lock")):
                if not target.exists():
                    with atomic_file(target) as temporary:
                        temporary.write_bytes(content)
        except OSError as error:
            raise self._failed("written", str(target), error) from error

    def _again(self, verb: str, path: str, call: Callable[[str], _T]) -> _T | None:
        """Call with the whole path until it succeeds; None where nothing is there."""
        for attempt in range(ATTEMPTS):
            try:
                return call(f"{self._root}/{path}")
            except FileNotFoundError:
                return None
            except _failures() as error:
                if attempt == ATTEMPTS - 1 or isinstance(error, PermissionError):
                    raise self._failed(verb, path, error) from error
                pause_s = min(FIRST_PAUSE_S * 2**attempt, LONGEST_PAUSE_S)
                time.sleep(pause_s * random.uniform(0.5, 1.0))  # not all workers at once
        raise AssertionError("the last attempt returns or raises")

    def _failed(self, verb: str, path: str, error: BaseException) -> StoreError:
        return StoreError(
            f"{path} of the store {self.url} can't be {verb} ({type(error).__name__}: {error}); "
            "what is finished is kept in the local cache: see to the store, and run again"
        )


def _failures() -> tuple[type[BaseException], ...]:
    loaded = (getattr(sys.modules[at], name) for at, name in _OTHERS if at in sys.modules)
    return (OSError, *loaded)


def _time(row: dict[str, Any]) -> datetime:
    """Return when a file was written, as drivers say it."""
    for name in ("LastModified", "mtime", "updated", "last_modified"):
        found = row.get(name)
        if isinstance(found, datetime):
            return found
        if isinstance(found, (int, float)):
            return datetime.fromtimestamp(found, timezone.utc)
    return datetime.now(timezone.utc)  # unknown: as if it were new, so that nothing is collected
