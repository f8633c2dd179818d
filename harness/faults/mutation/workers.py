"""Who does the work of a campaign: one process, or several that share it.

Work on one input is cut into tasks of neighbouring operations. Each process takes the next one, so
it only ever moves forward through the program, and keeps its unmutated run where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Final, TypeAlias

import torch

from harness.faults.mutation.runner import Finding, Stage
from harness.faults.mutation.target import Source
from harness.faults.operators.site import mutants
from harness.mil import load
from harness.workers import worker_pool

Place: TypeAlias = tuple[int, int]
"""An operation, and which of its mutants."""
Findings: TypeAlias = Mapping[Place, Finding]
Advance = Callable[[int, int], None]

_OPERATIONS_PER_TASK: Final = 8


@dataclass(frozen=True)
class Task:
    """Mutants of some neighbouring operations on one input; see `Stage.find` for ``judged``."""

    input: str
    judged: bool
    places: tuple[Place, ...]


class Worker:
    """Does tasks: one input after the other, each in program order."""

    def __init__(self, source: Source) -> None:
        self._source, self._model = source, load(source.package)
        self._input = ""
        self._stage: Stage | None = None

    def do(self, task: Task) -> list[Finding]:
        """Return the findings of a task, in its order."""
        if self._stage is None or self._input != task.input:
            self._stage = None  # its values go before the next ones come
            self._stage, self._input = self._source.stage(self._model, task.input), task.input
        found: list[Finding] = []
        for index, places in groupby(task.places, key=lambda place: place[0]):
            known = list(mutants(self._model, index))
            chosen = [known[which] for _, which in places]
            found += self._stage.find(chosen, judged=task.judged)
        return found


Do: TypeAlias = Callable[[Sequence[Task]], Iterator[list[Finding]]]


@contextmanager
def crew(source: Source, jobs: int) -> Iterator[Do]:
    """Yield what does tasks in ``jobs`` processes and returns their findings in order.

    Every process computes with one thread, so no result depends on how many there are.
    """
    if jobs == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            worker = Worker(source)
            yield lambda tasks: map(worker.do, tasks)
        finally:
            torch.set_num_threads(threads)
        return
    with worker_pool(jobs, _hire, source) as pool:
        try:
            yield lambda tasks: _in_pool(pool, tasks)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def work(
    do: Do, input: str, places: Sequence[Place], *, judged: bool, advance: Advance
) -> dict[Place, Finding]:
    """Return what becomes of the mutants at ``places``, in program order, on one input."""
    found: dict[Place, Finding] = {}
    size = _OPERATIONS_PER_TASK
    tasks = [
        Task(input, judged, tuple(group))
        for _, group in groupby(places, key=lambda place: place[0] // size)
    ]
    advance(0, len(places))
    for task, findings in zip(tasks, do(tasks), strict=True):
        found.update(zip(task.places, findings, strict=True))
        advance(len(found), len(places))
    return found


_worker: Worker | None = None


def _hire(source: Source) -> None:
    global _worker
    torch.set_num_threads(1)
    _worker = Worker(source)


def _do(task: Task) -> list[Finding]:
    assert _worker is not None  # the pool hires before it sends tasks
    return _worker.do(task)


def _in_pool(pool: Executor, tasks: Sequence[Task]) -> Iterator[list[Finding]]:
    return pool.map(_do, tasks)
