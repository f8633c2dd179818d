"""Which result is written into the memory of which dead value.

Fresh memory costs about 2 ns an element in page faults, more than most arithmetic on it, and the
memory of a large result goes back to the operating system as soon as it is dead. So memory that
dies is parked where a later operation can write its result into it: decided beforehand, from
declared shapes, and only where parking holds little more than the run needs at its peak anyway.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.mil.plan import Step
from harness.mil.types import DataType, TensorType

_SMALLEST = 1 << 18  # elements; smaller memory stays with the allocator
_SLACK = 1.25  # of parked memory over what is needed
_ROOM = 1.25  # of all memory, parked included, over the peak without parking


@dataclass(frozen=True)
class Lifetime:
    """The values that share one memory: step that makes it, last step that reads it.

    Attributes:
        type: of the value that is made.
        first: index of the step that makes it.
        last: index of the last step that reads any value in it; the end of the run if kept.
        slot: the value that dies last; ``None`` where the memory is not free afterwards.
    """

    type: TensorType
    first: int
    last: int
    slot: int | None


@dataclass
class Buffers:
    """What to park and what to write into parked memory, by the index of the step.

    Attributes:
        claims: steps that write their result into parked memory.
        parks: after which step the memory of which slots is parked, and for which step.
    """

    claims: set[int] = field(default_factory=set)
    parks: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Parked:
    dtype: DataType
    count: int
    slot: int
    since: int


def park_buffers(
    steps: Sequence[Step], overwriting: Collection[int], lifetimes: Sequence[Lifetime]
) -> Buffers:
    """Return which memory is parked after which step, and which step writes into it.

    Args:
        steps: those that run, in order.
        overwriting: indices of steps that write over an operand; they need no other memory.
        lifetimes: of all memory of fixed size that the steps make.
    """
    need = np.zeros(len(steps) + 1)
    made = {life.first: life for life in lifetimes}
    dying: dict[int, list[Lifetime]] = {}
    for life in lifetimes:
        # What is written over an operand needs memory of its own only after that.
        need[life.first + (life.first in overwriting) : life.last + 1] += life.type.count
        dying.setdefault(life.last, []).append(life)
    limit, result = need.max() * _ROOM, Buffers()
    parked: list[_Parked] = []
    sizes: dict[int, int] = {}
    for index, step in enumerate(steps):
        wanted = made.get(index)
        if wanted is not None and step.definition.takes_out and index not in overwriting:
            fitting = (p for p in parked if _fits(p, wanted, need, limit))
            found = min(fitting, key=lambda p: (p.count, -p.since), default=None)
            if found is not None:
                parked.remove(found)
                need[found.since + 1 : index] += found.count
                need[index : wanted.last + 1] += found.count - wanted.type.count
                result.claims.add(index)
                result.parks.setdefault(found.since, []).append((found.slot, index))
                sizes[index] = found.count
        for dead in dying.get(index, ()):
            count = sizes.get(dead.first, dead.type.count)
            if dead.slot is not None and count >= _SMALLEST:
                parked.append(_Parked(dead.type.dtype, count, dead.slot, index))
    return result


def _fits(parked: _Parked, life: Lifetime, need: np.ndarray, limit: float) -> bool:
    index, wanted = life.first, life.type.count
    if parked.dtype is not life.type.dtype or not wanted <= parked.count <= _SLACK * wanted:
        return False
    surplus = parked.count - wanted
    waiting, living = need[parked.since + 1 : index], need[index : life.last + 1]
    return bool(
        (waiting + parked.count <= limit).all()
        and (not surplus or (living + surplus <= limit).all())
    )
