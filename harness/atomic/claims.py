"""Claims: a writer holds a file or folder itself, so whoever comes later knows whether it lives.

The operating system frees a claim when its holder ends, however it ends. Where a file system has no
locks, and on Windows, nothing is held, and `claim` and `waiting_claim` say so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path


def waiting_claim(path: Path) -> AbstractContextManager[bool]:
    """Hold the file or folder at ``path`` itself; wait as long as another holder has it.

    Yields whether it is held: ``False`` where it can't be locked, as on some network disks.
    """
    return _claimed(path, wait=True)


def claim(path: Path) -> AbstractContextManager[bool]:
    """Hold the file or folder at ``path`` itself, if nobody else does.

    Yields whether it is held: ``False`` if another holder lives, if it is gone, or if it can't be
    locked. So what nobody is known to have left is left alone.
    """
    return _claimed(path, wait=False)


if sys.platform == "win32":

    @contextmanager
    def _claimed(path: Path, *, wait: bool) -> Iterator[bool]:
        yield False  # a locked byte would keep its own writer out, and folders have none

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
