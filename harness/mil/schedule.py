"""What a run executes and when memory is given back.

A schedule belongs to a plan and to the set of values that the caller wants to keep. It drops
operations that nothing kept depends on, says after which step each value is dead, and finds the
steps that may write their result over an operand.

Values may share memory (a reshape is a view), so memory is tracked by groups: a view joins the
group of its first operand; a branch, a loop or a list joins the groups of all its operands.
Overwriting is allowed only where every member of the group is dead and none of them is an input,
a constant or kept. Blocks inside an operation have schedules of their own, in which everything
that comes from outside counts as an input.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from harness.mil.arena import Lifetime
from harness.mil.ops.registry import Effect
from harness.mil.plan import Plan, Step
from harness.mil.types import TensorType


@dataclass(frozen=True, eq=False)
class ScheduledStep:
    """A step, the operand slot that it may overwrite, and the slots that are dead after it.

    ``blocks`` are the schedules of its blocks. ``sole`` says that nothing but the result of a view
    is alive in the memory that it shares.
    """

    step: Step
    overwrite: int | None
    free: tuple[int, ...]
    blocks: tuple[Schedule, ...] = ()
    sole: bool = False


@dataclass(frozen=True, eq=False)
class Schedule:
    """The steps of one run, and how long their large results are needed."""

    steps: tuple[ScheduledStep, ...]
    kept: frozenset[int]
    lifetimes: tuple[Lifetime, ...] = ()


def build_schedule(plan: Plan, kept: Collection[int], *, reuse: bool) -> Schedule:
    """Schedule ``plan`` so that the values in the slots ``kept`` are there at the end.

    Args:
        plan: what to run.
        kept: slots of outputs and taps.
        reuse: whether results may overwrite dead operands; off for gradients.
    """
    live = _live_steps(plan, kept)
    last_use = {slot: index for index, step in enumerate(live) for slot in step.reads}
    for index, step in enumerate(live):
        for slot in step.outputs:
            last_use.setdefault(slot, index)  # an output that nobody reads dies at once
    groups = _MemoryGroups(plan, live, kept, last_use)
    frees: list[list[int]] = [[] for _ in live]
    for slot, index in last_use.items():
        if slot not in kept and slot not in plan.fixed:
            frees[index].append(slot)
    overwrites = {
        i: _overwritable(plan, s, i, groups) if reuse else None for i, s in enumerate(live)
    }
    return Schedule(
        steps=tuple(
            ScheduledStep(
                step=step,
                overwrite=overwrites[index],
                free=tuple(frees[index]),
                blocks=_block_schedules(step, reuse=reuse),
                sole=reuse and groups.holds_only_results(step, index),
            )
            for index, step in enumerate(live)
        ),
        kept=frozenset(kept),
        lifetimes=_lifetimes(plan, live, overwrites, groups) if reuse else (),
    )


def build_stretch(plan: Plan, first: int, stop: int) -> tuple[Schedule, frozenset[int]]:
    """Schedule the steps from ``first`` to before ``stop`` alone; nothing is overwritten.

    What is kept is what the steps from ``stop`` on read, and outputs, as far as it is made by then.
    Beside the schedule stand the slots that the run has to be given.
    """
    steps, last_use = _without_reuse(plan)
    known = [*plan.inputs.values(), *(slot for step in plan.steps[:first] for slot in step.outputs)]
    made = [slot for step in plan.steps[first:stop] for slot in step.outputs]
    kept = frozenset(slot for slot in (*known, *made) if last_use.get(slot, -1) >= stop)
    needed = frozenset(slot for slot in known if last_use.get(slot, -1) >= first)
    return Schedule(steps[first:stop], kept), needed


@lru_cache(maxsize=2)
def _without_reuse(plan: Plan) -> tuple[tuple[ScheduledStep, ...], dict[int, int]]:
    """Return every step of ``plan``, and after which step each slot is dead; outputs never are."""
    last_use = {slot: index for index, step in enumerate(plan.steps) for slot in step.reads}
    last_use |= {plan.slots[name]: len(plan.steps) for name in plan.outputs}
    steps = []
    for index, step in enumerate(plan.steps):
        touched = {*step.reads, *step.outputs} - plan.fixed
        dead = tuple(slot for slot in touched if last_use.get(slot, -1) <= index)
        blocks = _block_schedules(step, reuse=False)
        steps.append(ScheduledStep(step, overwrite=None, free=dead, blocks=blocks))
    return tuple(steps), last_use


def _block_schedules(step: Step, *, reuse: bool) -> tuple[Schedule, ...]:
    return tuple(
        build_schedule(block, {block.slots[name] for name in block.outputs}, reuse=reuse)
        for block in step.blocks
    )


def _live_steps(plan: Plan, kept: Collection[int]) -> list[Step]:
    wanted = set(kept)
    live = []
    for step in reversed(plan.steps):
        if step.writes or wanted.intersection(step.outputs) - plan.fixed:
            live.append(step)
            wanted.update(step.reads)
    return live[::-1]


class _MemoryGroups:
    """Which values may share memory, how long each group lives, and which are protected."""

    def __init__(
        self, plan: Plan, live: list[Step], kept: Collection[int], last_use: dict[int, int]
    ) -> None:
        self._root: dict[int, int] = {}
        for step in live:
            if not step.definition.effect.shares_memory or not step.reads:
                continue
            reads = step.reads[:1] if step.definition.effect is Effect.VIEW else step.reads
            for slot in (*reads, *step.outputs):
                self._join(slot, step.reads[0])
        foreign = (*plan.fixed, *plan.inputs.values(), *plan.captures)
        self._protected = {self.root(slot) for slot in (*kept, *foreign)}
        # Last use of the values that each group has so far, step by step.
        self._ends_before: dict[int, int] = {}
        ends: dict[int, int] = {}
        for index, step in enumerate(live):
            if step.reads:
                self._ends_before[index] = ends.get(self.root(step.reads[0]), len(live))
            for slot in step.outputs:
                root = self.root(slot)
                ends[root] = max(ends.get(root, -1), last_use[slot])
        self._counts: dict[int, int] = {}
        for slot in last_use:
            type_ = plan.types[slot]
            if isinstance(type_, TensorType) and type_.is_static:
                self._counts[self.root(slot)] = max(self.count(slot), type_.count)
        self._end: dict[int, int] = {}
        for slot, index in last_use.items():
            self._end[self.root(slot)] = max(self._end.get(self.root(slot), -1), index)

    def root(self, slot: int) -> int:
        while slot in self._root:
            slot = self._root[slot]
        return slot

    def _join(self, slot: int, other: int) -> None:
        if self.root(slot) != self.root(other):
            self._root[self.root(slot)] = self.root(other)

    def count(self, slot: int) -> int:
        """Return the number of elements of the largest value in the memory of ``slot``."""
        return self._counts.get(self.root(slot), 0)

    def end(self, slot: int) -> int | None:
        """Return after which step the memory of ``slot`` is dead; ``None``: it outlives the run."""
        root = self.root(slot)
        return None if root in self._protected else self._end[root]

    def holds_only_results(self, step: Step, index: int) -> bool:
        """Whether all that is alive after a view, in the memory that it shares, is its results."""
        if step.definition.effect is not Effect.VIEW or not step.reads:
            return False
        root = self.root(step.reads[0])
        return root not in self._protected and self._ends_before[index] <= index


def _overwritable(plan: Plan, step: Step, index: int, groups: _MemoryGroups) -> int | None:
    declared = step.types[0] if len(step.outputs) == 1 else None
    if not isinstance(declared, TensorType) or not declared.is_static:
        return None
    reads = [a.payload for a in step.arguments if a.name in step.definition.reuse]
    fitting = [slot for slot in reads if isinstance(slot, int) and plan.types[slot] == declared]
    # The half of a split would keep the memory of both.
    for slot in sorted(fitting, key=groups.count):
        shared = any(
            other != slot and groups.root(other) == groups.root(slot) for other in step.reads
        )
        end = groups.end(slot)
        if not shared and end is not None and end <= index:
            return slot
    return None


def _lifetimes(
    plan: Plan, live: list[Step], overwrites: dict[int, int | None], groups: _MemoryGroups
) -> tuple[Lifetime, ...]:
    """Return the lifetimes of the results that can be written into memory of their own."""
    makers: dict[int, list[int]] = {}
    for index, step in enumerate(live):
        if not step.definition.effect.shares_memory:
            for slot in step.outputs:
                makers.setdefault(groups.root(slot), []).append(index)
    over: dict[int, int | None] = {}  # by memory, the end of what is written over it
    found = []
    for index, step in reversed(list(enumerate(live))):
        if step.definition.effect.shares_memory or len(step.outputs) != 1:
            continue
        root, declared = groups.root(step.outputs[0]), step.types[0]
        end = groups.end(root) if len(makers[root]) == 1 else None
        if end is not None and root in over:
            later = over[root]
            end = None if later is None else max(end, later)
        overwritten = overwrites[index]
        if overwritten is not None:
            over[groups.root(overwritten)] = end
            continue
        if not step.definition.takes_out or end is None:
            continue
        if isinstance(declared, TensorType) and declared.is_static:
            found.append(Lifetime(index, declared, end))
    return tuple(found)
