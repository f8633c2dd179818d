"""A request to end, from a scheduler or a closed terminal, unwinds the program as Ctrl-C does.

By default SIGTERM ends Python on the spot: no ``finally``, so temporary folders stay. A job that is
cancelled gets one, and SIGKILL some seconds later, if it is still there.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_REQUESTS: Final = ("SIGTERM", "SIGHUP")


@contextmanager
def requests_as_interrupts(asked: list[signal.Signals]) -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread when such a signal comes.

    A signal that the caller ignores or handles, as ``nohup`` does, stays as it is.

    Args:
        asked: gets the signal that came; the first one counts.
    """
    owner = os.getpid()
    held = [
        number
        for name in _REQUESTS
        if (number := getattr(signal, name, None)) is not None
        and signal.getsignal(number) is signal.SIG_DFL
        and threading.current_thread() is threading.main_thread()
    ]

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker: its parent cleans up
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for other in held:
            signal.signal(other, signal.SIG_IGN)  # a second one must not cut the cleaning short
        asked.append(signal.Signals(number))
        raise KeyboardInterrupt

    for number in held:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, signal.SIG_DFL)
