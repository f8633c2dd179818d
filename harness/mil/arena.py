"""One piece of memory for the large results of a run, each at a place of its own.

Fresh memory costs about 2 ns an element in page faults, more than most arithmetic on it, and the
memory of a large result goes back to the operating system as soon as it is dead. So results get
places that are planned beforehand, from declared shapes and lifetimes, in memory that stays for the
next run, of whatever model. Places are given by size, each the lowest that is free for as long as
it is needed: "Greedy by Size for Offset Calculation" of Pisarchyk and Lee, 2020 (arXiv:2001.03288).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import torch

from harness.mil.types import TensorType
from harness.mil.values import allocating

Memory: TypeAlias = npt.NDArray[np.uint8]

_SMALLEST = 1 << 16  # elements; smaller memory stays with the allocator
_ALIGNMENT = 64  # bytes: a cache line, and the widest vector


@dataclass(frozen=True)
class Lifetime:
    """The memory of one result and of all that is written over it.

    Attributes:
        step: index of the step that makes the result.
        type: of the result; its shape is known.
        last: index of the last step that reads what lies there.
    """

    step: int
    type: TensorType
    last: int


@dataclass(frozen=True)
class ArenaLayout:
    """Where results lie: ``places`` has the first byte, by the index of the step."""

    places: Mapping[int, int]
    size: int

    @classmethod
    def of(
        cls, lifetimes: Sequence[Lifetime], dtype: Callable[[TensorType], torch.dtype]
    ) -> ArenaLayout:
        """Give each lifetime a place."""
        bare = [life.type.count * dtype(life.type).itemsize for life in lifetimes]
        sizes = [math.ceil(size / _ALIGNMENT) * _ALIGNMENT for size in bare]
        placed: list[tuple[int, int, Lifetime]] = []  # first byte, byte after the last
        for size, life in sorted(zip(sizes, lifetimes, strict=True), key=lambda pair: -pair[0]):
            neighbours = [
                (start, stop)
                for start, stop, other in placed
                if other.step <= life.last and life.step <= other.last
            ]
            start = _lowest_gap(neighbours, size)
            placed.append((start, start + size, life))
        return cls(
            {life.step: start for start, _, life in placed},
            max((stop for _, stop, _ in placed), default=0),
        )


class Arena:
    """Places for the large results of one schedule.

    Args:
        lifetimes: of the results.
        dtype: in which types values are carried.
    """

    def __init__(
        self, lifetimes: Sequence[Lifetime], dtype: Callable[[TensorType], torch.dtype]
    ) -> None:
        large = [life for life in lifetimes if life.type.count >= _SMALLEST]
        self._layout = ArenaLayout.of(large, dtype)
        self._types = {life.step: (life.type, dtype(life.type)) for life in large}

    @property
    def size(self) -> int:
        """How many bytes a run needs."""
        return self._layout.size

    def tensor(self, memory: Memory, step: int) -> torch.Tensor | None:
        """Return the place in ``memory`` of the result of a step, ``None`` if it has none."""
        start = self._layout.places.get(step)
        if start is None:
            return None
        declared, dtype = self._types[step]
        # A storage of its own: who shares memory with whom is told by where storages begin.
        whole = torch.frombuffer(memory, dtype=dtype, count=declared.count, offset=start)
        return whole.view([size for size in declared.shape or () if size is not None])


class Scratch:
    """Memory that is lent to one run at a time, the last that came back first.

    Models that run in turn need no more of it than the largest of them.
    """

    def __init__(self) -> None:
        self._idle: list[Memory] = []

    @contextmanager
    def lend(self, size: int) -> Iterator[Memory]:
        """Lend at least ``size`` bytes; what a failed run had is not lent again.

        Raises:
            ExecutionError: there is no memory of that size.
        """
        memory: Memory | None = None
        with suppress(IndexError):  # nothing is idle
            memory = self._idle.pop()
        if memory is None or len(memory) < size:
            del memory
            with allocating("what lives at once in a run"):
                # NumPy asks for huge pages where the system has them to give.
                memory = np.empty(size, np.uint8)
        yield memory
        self._idle.append(memory)


_LIVING: WeakValueDictionary[str, Scratch] = WeakValueDictionary()


def common_scratch() -> Scratch:
    """Return what all models of this process run in, for as long as there is one of them."""
    return _LIVING.setdefault("cpu", Scratch())


def _lowest_gap(taken: list[tuple[int, int]], size: int) -> int:
    """Return the first byte of the smallest gap that ``size`` bytes fit into, or of the end."""
    best, width, end = None, math.inf, 0
    for start, stop in sorted(taken):
        if size <= start - end < width:
            best, width = end, start - end
        end = max(end, stop)
    return end if best is None else best
