"""What computes the cells of a sweep: this process, processes of this machine, a Dask cluster.

Everything goes through `concurrent.futures`. A name (``local``, ``dask://HOST:PORT``) becomes an
`Opener`, which gives a `Pool` as often as one is asked for: a pool whose worker was killed is
broken, and the next one goes on. Of a worker that died, Dask gives the cells to another; one that
took several workers with it is a broken executor, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from harness.errors import EngineUnavailableError, ParityError
from harness.extras import require_extra
from harness.workers import worker_pool

CONNECT_S: Final = 10
AT_ONCE: Final = 1_000
"""Cells that are handed over before the first is done: enough for a large cluster."""


@dataclass(frozen=True)
class Pool:
    """An executor, and how many calls it should have at a time."""

    executor: Executor
    at_once: int = AT_ONCE


Opener: TypeAlias = Callable[[], AbstractContextManager[Pool]]


def opener_of(name: str, workers: int = 1) -> Opener:
    """Return what opens the executor called ``name``.

    Args:
        name: ``local``, or ``dask://HOST:PORT`` of a scheduler.
        workers: processes of ``local``; 1 computes in this one.

    Raises:
        ParityError: there is no such executor, or it needs an extra.
    """
    if name == "local":
        return local(workers)
    address = re.fullmatch(r"dask://([^/\s]+:\d+)/?", name)
    if address is None:
        raise ParityError(f"unknown executor {name!r}; expected local or dask://HOST:PORT")
    require_extra("dask", f"--executor {name}")
    return dask(f"tcp://{address[1]}")


def local(workers: int) -> Opener:
    """Return what opens a pool of ``workers`` processes; with 1 this process does the work."""

    @contextmanager
    def open_pool() -> Iterator[Pool]:
        if workers == 1:
            yield Pool(Here(), at_once=1)
            return
        pool = worker_pool(workers)
        try:
            yield Pool(pool)
        finally:
            pool.shutdown(cancel_futures=True)

    return open_pool


def dask(address: str) -> Opener:
    """Return what opens the cluster of the scheduler at ``address`` (``tcp://HOST:PORT``)."""

    @contextmanager
    def connect() -> Iterator[Pool]:
        import distributed

        try:
            client = distributed.Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise EngineUnavailableError(
                f"no Dask scheduler answers at {address} ({type(error).__name__}); start one with: "
                "dask scheduler"
            ) from error
        with client:
            try:
                yield Pool(client.get_executor(pure=False))
            except distributed.KilledWorker as error:
                raise BrokenExecutor(str(error)) from error

    return connect


class Here(Executor):
    """This process and thread: a call is made when it is handed over."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return a future of ``fn``, which has been called."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
