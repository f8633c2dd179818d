"""One holder at a time, across processes and threads, of whatever a lock file stands for.

`file_lock` is for what must not go on without it. `claim` and `waiting_claim` hold a file or folder
itself, which tells whoever comes later whether its writer still lives; where a file system has no
locks they hold nothing and say so.

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
from contextlib import contextmanager, suppress
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


@contextmanager
def waiting_claim(path: Path) -> Iterator[bool]:
    """Hold the file or folder at ``path`` itself; wait as long as another holder has it.

    Yields whether it is held: ``False`` where it can't be locked, as on some network disks.
    """
    with _claimed(path, wait=True) as held:
        yield held


@contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Hold the file or folder at ``path`` itself, if nobody else does.

    Yields whether it is held: ``False`` if another holder lives, if it is gone, or if it can't be
    locked. So what nobody is known to have left is left alone.
    """
    with _claimed(path, wait=False) as held:
        yield held


if sys.platform == "win32":
    import msvcrt

    @contextmanager
    def _claimed(path: Path, *, wait: bool) -> Iterator[bool]:
        yield False  # a locked byte would keep its own writer out, and folders have none

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

    @contextmanager
    def _claimed(path: Path, *, wait: bool) -> Iterator[bool]:
        descriptor, held = -1, False
        try:
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY)
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                held = os.path.samestat(path.stat(), os.fstat(descriptor))
            yield held
        finally:
            if descriptor >= 0:
                os.close(descriptor)

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
