"""One holder at a time, across processes and threads, of whatever a lock file stands for.

The operating system holds the lock and frees it when its holder ends, however it ends. So no lock
can be stale, none has to be broken, and a killed builder leaves the next one free to go on. Lock
files are never deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from harness.errors import GoldenError


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold the lock that ``path`` stands for; wait as long as another holder has it.

    Raises:
        GoldenError: the lock file can't be made or the file system does not support locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Where there are no locks, a file that merely exists would outlive a killed holder.
        lock = FileLock(path, fallback_to_soft=False)
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise GoldenError(
            f"the lock file {path} can't be opened and locked ({error}); make its folder writable, "
            "on a local disk, and run again"
        ) from error
    try:
        yield
    finally:
        lock.release()
