"""Runs of steps that treat rows independently, as one step that is executed slab by slab.

A large result that is written to memory, read by the next operation, written again and so on takes
more time on its way than in the arithmetic. Where consecutive steps treat the rows of their values
independently (`harness.mil.ops.rows`), a few rows can go through all of them while they stay in
the cache. Such steps become one, a region. It has blocks, as a branch has, one for each size of a
slab: in it the same operations have declared types of so many rows. What they compute and how they
round stays the same, and so do their names in error messages.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from harness.mil.ops.registry import Definition, Effect, Kind
from harness.mil.ops.rows import Call, Shape
from harness.mil.plan import Argument, Plan, Source, Step
from harness.mil.types import TensorType, ValueType
from harness.mil.values import FAILURES

# In elements: a value that does not stay in a cache on its own, and the largest one of a slab.
_LARGE = 1 << 20
_SLAB = 1 << 20
# A region ends with a step that makes a large value, and has at least so many of them; between two
# there are at most so many that make none.
_FEWEST_LARGE = 3
_MOST_BETWEEN = 8
# PyTorch adds up one sum in another order than several at once, so a slab is never a single row.
_FEWEST_ROWS = 2


@dataclass(frozen=True, eq=False)
class Region(Step):
    """Several steps as one, with a block for each size of a slab.

    Attributes:
        taken: which of the slots that its blocks capture are read row by row.
        slabs: where each slab begins and ends, and the index of the block that it goes through.
    """

    taken: frozenset[int] = frozenset()
    slabs: tuple[tuple[int, int, int], ...] = ()

    @property
    def writes_over(self) -> bool:
        """Whether its last step may write over an operand, however that lies in memory."""
        return bool(self.blocks[0].steps[-1].definition.reuse)


def with_regions(plan: Plan, steps: Sequence[Step], kept: Collection[int]) -> list[Step]:
    """Return ``steps`` with regions in place of those that are faster slab by slab.

    Args:
        plan: what the steps belong to.
        steps: what is executed, in order.
        kept: slots whose values are needed after the last step.
    """
    last_use = {slot: index for index, step in enumerate(steps) for slot in step.reads}
    found: list[Step] = []
    stop = 0
    for chain in _chains(plan, steps):
        stop += len(chain.steps)
        tail = chain.without_tail()
        outputs = [s for s in chain.made if s in kept or last_use.get(s, -1) >= stop - len(tail)]
        found += [_region(plan, chain, outputs)] if outputs and chain.count_slabs() else chain.steps
        found += tail
    return found


@dataclass
class _Chain:
    """Consecutive steps whose results have the same number of rows, each made of its own rows.

    Attributes:
        rows: how many.
        steps: in order.
        made: the types of their results, by slot.
        taken: slots from outside that are read row by row.
        whole: slots from outside that are needed whole.
    """

    rows: int
    steps: list[Step] = field(default_factory=list)
    made: dict[int, ValueType] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    whole: set[int] = field(default_factory=set)

    def add(self, step: Step, taken: frozenset[int]) -> bool:
        """Add ``step`` unless it needs a value whole of which there are only rows, or the reverse.

        Returns:
            Whether it was added.
        """
        whole = set(step.reads) - taken
        if whole & (self.made.keys() | self.taken) or taken & self.whole:
            return False
        self.steps.append(step)
        self.taken |= taken - self.made.keys()
        self.whole |= whole
        for slot, type_ in zip(step.outputs, step.types, strict=True):
            self.made[slot] = type_
        return True

    def without_tail(self) -> list[Step]:
        """Take away the steps after the last one that makes a large value, and return them."""
        tail: list[Step] = []
        while self.steps and not _makes_large(self.steps[-1]):
            tail.insert(0, self.steps.pop())
            for slot in tail[0].outputs:
                self.made.pop(slot, None)
        return tail

    def count_slabs(self) -> int:
        """Return into how many slabs the steps are best cut; 0: they aren't."""
        if sum(map(_makes_large, self.steps)) < _FEWEST_LARGE:
            return 0
        largest = max(math.prod(_shape(type_)) for type_ in self.made.values())
        slabs = min(math.ceil(largest / _SLAB), self.rows // _FEWEST_ROWS)
        return slabs if slabs > 1 else 0


def _chains(plan: Plan, steps: Sequence[Step]) -> Iterator[_Chain]:
    """Cut ``steps`` into runs; a step that can't begin one stands alone."""
    chain: _Chain | None = None
    between = 0
    for step in steps:
        rows, taken = _taken(plan, step)
        between = 0 if _makes_large(step) else between + 1
        if chain is not None:
            joins = rows == chain.rows > 1 and between <= _MOST_BETWEEN
            if joins and chain.add(step, taken):
                continue
            yield chain
        chain = _Chain(rows if between == 0 else 0)
        chain.add(step, taken)
    if chain is not None:
        yield chain


def _makes_large(step: Step) -> bool:
    """Whether a step writes a value of such a size; a view does not."""
    return not step.definition.effect.shares_memory and any(
        isinstance(t, TensorType) and t.is_static and t.count >= _LARGE for t in step.types
    )


def _taken(plan: Plan, step: Step) -> tuple[int, frozenset[int]]:
    """Return how many rows a step has and which slots it reads row by row; 0: it needs all."""
    nothing = 0, frozenset[int]()
    call = _call(plan, step)
    if step.definition.rows is None or call is None:
        return nothing
    try:
        names = step.definition.rows.taken(call)
    except FAILURES:  # when it is executed, it says itself what is wrong
        return nothing
    sizes = {shape[:1] for name in names for shape in call.shapes[name]}
    taken = frozenset(s for a in step.arguments if a.name in names for s in a.slots)
    others = {s for a in step.arguments if a.name not in names for s in a.slots}
    if taken & others or len(sizes) != 1 or sizes != {shape[:1] for shape in call.results}:
        return nothing
    return next((shape[0] for shape in call.results if shape), 0), taken


def _call(plan: Plan, step: Step) -> Call | None:
    """Return what is known of a call beforehand; ``None``: not enough."""
    if any(argument.source is Source.READ for argument in step.arguments):
        return None
    literals = {a.name: a.payload for a in step.arguments if a.source is Source.LITERAL}
    types = {a.name: [plan.types[slot] for slot in a.slots] for a in step.arguments if a.slots}
    if not all(map(_is_static, (*step.types, *(t for several in types.values() for t in several)))):
        return None
    shapes = {name: tuple(map(_shape, several)) for name, several in types.items()}
    return Call(literals, shapes, tuple(map(_shape, step.types)))


def _is_static(type_: ValueType) -> bool:
    return isinstance(type_, TensorType) and type_.is_static


def _shape(type_: ValueType) -> Shape:
    assert isinstance(type_, TensorType)  # it is static
    return tuple(size for size in type_.shape or () if size is not None)


def _region(plan: Plan, chain: _Chain, outputs: Sequence[int]) -> Region:
    size, more = divmod(chain.rows, chain.count_slabs())
    sizes = [size + 1] * more + [size] * (chain.count_slabs() - more)
    blocks = sorted(set(sizes))
    ends = list(itertools.accumulate(sizes))
    return Region(
        operation=chain.steps[-1].operation,
        definition=_REGION,
        arguments=_reusable(chain) if len(outputs) == 1 else (),
        outputs=tuple(outputs),
        types=tuple(chain.made[slot] for slot in outputs),
        moves_exactly=True,
        blocks=tuple(_block(plan, chain, outputs, rows) for rows in blocks),
        taken=frozenset(chain.taken),
        slabs=tuple(
            (end - rows, end, blocks.index(rows)) for rows, end in zip(sizes, ends, strict=True)
        ),
    )


def _reusable(chain: _Chain) -> tuple[Argument, ...]:
    """Return what the last step, which makes the output, may write over, slab by slab."""
    *before, last = chain.steps
    viewed = {s for step in before if step.definition.effect.shares_memory for s in step.reads}
    viewed |= {s for a in last.arguments if a.name not in last.definition.reuse for s in a.slots}
    slots = {slot for step in chain.steps for slot in step.reads} & chain.taken - viewed
    return tuple(Argument(_REUSED, Source.SLOT, slot, Kind.TENSOR) for slot in sorted(slots))


def _block(plan: Plan, chain: _Chain, outputs: Sequence[int], rows: int) -> Plan:
    """Return the steps of ``chain`` as a plan for so many rows, over the slots of ``plan``."""
    types = list(plan.types)
    for slot in (*chain.made, *chain.taken):
        declared = plan.types[slot]
        assert isinstance(declared, TensorType)  # it has rows
        types[slot] = dataclasses.replace(declared, shape=(rows, *_shape(declared)[1:]))
    names = {
        slot: variable.name
        for step in chain.steps
        for slot, variable in zip(step.outputs, step.operation.outputs, strict=True)
    }
    return Plan(
        function=plan.function,
        steps=tuple(_for_rows(step, types) for step in chain.steps),
        slots={name: slot for slot, name in names.items()},
        types=tuple(types),
        inputs={},
        captures={s: s for step in chain.steps for s in step.reads if s not in chain.made},
        constants={},
        outputs=tuple(names[slot] for slot in outputs),
        expansions=(),
    )


def _for_rows(step: Step, types: Sequence[ValueType]) -> Step:
    declared = tuple(types[slot] for slot in step.outputs)
    shape = None if step.definition.rows is None else step.definition.rows.shape
    arguments = tuple(
        dataclasses.replace(argument, payload=_shape(declared[0]))
        if argument.name == shape
        else argument
        for argument in step.arguments
    )
    return dataclasses.replace(step, arguments=arguments, types=declared)


def _never(out: object = None) -> None:
    raise AssertionError("the blocks of a region are executed in its place")


_REUSED = "reused"
_REGION = Definition(
    type="region",
    function=_never,
    parameters={},
    effect=Effect.COMPUTE,
    reuse=(_REUSED,),
    takes_out=True,
    takes_context=False,
    takes_blocks=False,
)
