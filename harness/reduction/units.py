"""What may be left out together, what has to come along, and what stands near a suspect."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from harness.reduction.cutting import Cutter


class Units:
    """The operations of a program in groups: all that work on one state, and the others alone.

    The order in which operations read and write a state counts, so they stay together.

    Attributes:
        members: of each unit, the indices of its operations; units are in program order.
    """

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter
        groups: dict[str | int, list[int]] = {}
        for index, part in enumerate(cutter.parts):
            state = next(filter(cutter.is_state, part.reads), None)
            groups.setdefault(index if state is None else state, []).append(index)
        self.members = tuple(tuple(group) for group in groups.values())
        self._unit_of = {i: unit for unit, group in enumerate(self.members) for i in group}

    def operations(self, units: Collection[int]) -> frozenset[int]:
        """Return the operations in ``units``, and those that make what can't come from outside."""
        found: set[int] = set()
        waiting = list(units)
        while waiting:
            members = self.members[waiting.pop()]
            if members[0] in found:
                continue
            found.update(members)
            for name in (name for index in members for name in self._cutter.parts[index].reads):
                maker = self.of_value(name)
                if maker is not None and not self._cutter.is_cuttable(name):
                    waiting.append(maker)
        return frozenset(found)

    def of_value(self, name: str) -> int | None:
        """Return the unit in which a value is made; ``None`` for inputs."""
        maker = self._cutter.maker(name)
        return None if maker is None else self._unit_of[maker]

    def slices(self, unit: int) -> Iterator[tuple[int, ...]]:
        """Yield ``unit`` with 0, 1, 3, 7... of the units that it depends on, the nearest first."""
        near = list(self._ancestors(unit))
        size = 1
        while True:
            yield tuple(sorted(near[:size]))
            if size >= len(near):
                return
            size *= 2

    def _ancestors(self, unit: int) -> Iterator[int]:
        level, seen = [unit], {unit}
        while level:
            yield from level
            read = (n for u in level for i in self.members[u] for n in self._cutter.parts[i].reads)
            makers = {maker for name in read if (maker := self.of_value(name)) is not None}
            level = sorted(makers - seen, reverse=True)
            seen |= makers
