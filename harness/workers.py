"""Processes that work for this one, and end with it however it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def worker_pool(
    count: int, prepare: Callable[..., Callable[[Any], Any]] | None = None, *arguments: Any
) -> ProcessPoolExecutor:
    """Return a pool of ``count`` fresh processes, each of which first calls ``prepare``.

    What that returns stays in its process, and does there what is given to `work`.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, _begin, (prepare, arguments))


_worker: Callable[[Any], Any]


def work(task: Any) -> Any:
    """Do a task by what was prepared in this process of a `worker_pool`."""
    return _worker(task)


def _begin(prepare: Callable[..., Callable[[Any], Any]] | None, arguments: tuple[Any, ...]) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if prepare is not None:
        _worker = prepare(*arguments)


def _end_with_parent() -> None:
    """End this process when its parent has been killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
