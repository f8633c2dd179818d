"""Who does the work of a campaign: this process, or several that share it.

Work on one input is cut into tasks of neighbouring operations. Each worker takes the next one, so
it only ever moves forward through the program, and keeps its unmutated run where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final, TypeAlias

import torch

from harness.faults.mutation.runner import MutantRun, MutantRunner
from harness.faults.mutation.target import MutationTarget
from harness.faults.operators import mutants
from harness.mil import load
from harness.workers import work, worker_pool

Place: TypeAlias = tuple[int, int]
"""An operation, and which of its mutants."""
Runs: TypeAlias = Mapping[Place, MutantRun]
Advance = Callable[[int, int], None]

_OPERATIONS_PER_TASK: Final = 8
"""Few enough that workers end together, of 1,600 in a program; many enough that the way from one
task to the next, through the unmutated program, stays short beside the mutants on it."""


@dataclass(frozen=True)
class MutantTask:
    """Mutants of some neighbouring operations on one input; see `MutantRunner.run`."""

    input: str
    judged: bool
    places: tuple[Place, ...]


class MutantWorker:
    """Does tasks: one input after the other, each in program order."""

    def __init__(self, target: MutationTarget) -> None:
        self._target, self._model = target, load(target.package)
        self._input = ""
        self._runner: MutantRunner | None = None

    def __call__(self, task: MutantTask) -> list[MutantRun]:
        """Return what became of the mutants of a task, in its order."""
        if self._runner is None or self._input != task.input:
            self._runner = None  # its values go before the next ones come
            self._runner, self._input = self._target.runner(self._model, task.input), task.input
        runs: list[MutantRun] = []
        for index, places in groupby(task.places, key=lambda place: place[0]):
            known = list(mutants(self._model, index))
            chosen = [known[which] for _, which in places]
            runs += self._runner.run(chosen, judged=task.judged)
        return runs


Do: TypeAlias = Callable[[Iterable[MutantTask]], Iterator[list[MutantRun]]]


@contextmanager
def workers(target: MutationTarget, jobs: int) -> Iterator[Do]:
    """Yield what does tasks in ``jobs`` processes and returns their runs in order.

    Every process computes with one thread, so no result depends on how many there are.
    """
    if jobs == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield partial(map, MutantWorker(target))
        finally:
            torch.set_num_threads(threads)
        return
    with worker_pool(jobs, _alone, target) as pool:
        try:
            yield partial(pool.map, work)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_mutants(
    do: Do, input: str, places: Sequence[Place], *, judged: bool, advance: Advance
) -> dict[Place, MutantRun]:
    """Return what becomes of the mutants at ``places``, in program order, on one input."""
    runs: dict[Place, MutantRun] = {}
    tasks = [
        MutantTask(input, judged, tuple(group))
        for _, group in groupby(places, key=lambda place: place[0] // _OPERATIONS_PER_TASK)
    ]
    advance(0, len(places))
    for task, done in zip(tasks, do(tasks), strict=True):
        runs.update(zip(task.places, done, strict=True))
        advance(len(runs), len(places))
    return runs


def _alone(target: MutationTarget) -> MutantWorker:
    """Return the worker of a process that is its own."""
    torch.set_num_threads(1)
    return MutantWorker(target)
