"""One holder at a time, across processes and threads, of whatever a lock file stands for.

The operating system holds the lock (``flock`` on POSIX, a locked byte on Windows) and frees it when
its holder ends, however it ends. So no lock can be stale, none has to be broken, and a killed
builder leaves the next one free to go on. Lock files are never deleted: removing one while a second
process waits on it would let a third lock a new file of the same name.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import GoldenError

_WINDOWS_RETRY_S = 0.05


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock that ``path`` stands for; wait as long as another holder has it.

    Not re-entrant: a thread that asks twice waits for itself.

    Raises:
        GoldenError: the lock file can't be made or the file system does not support locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise GoldenError(
            f"the lock file {path} can't be opened ({error.strerror}); "
            "make its folder writable and run again"
        ) from error
    try:
        _acquire(descriptor, path)
        try:
            yield
        finally:
            _release(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _acquire(descriptor: int, path: Path) -> None:
        while True:
            try:
                os.lseek(descriptor, 0, os.SEEK_SET)
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError:
                time.sleep(_WINDOWS_RETRY_S)
            except OSError as error:
                raise _unsupported(path, error) from error
            else:
                return

    def _release(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _acquire(descriptor: int, path: Path) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise _unsupported(path, error) from error

    def _release(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _unsupported(path: Path, error: OSError) -> GoldenError:
    return GoldenError(
        f"{path} can't be locked ({error.strerror}); keep the goldens on a local disk"
    )
