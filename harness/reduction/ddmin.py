"""Delta debugging: the smallest part of a whole that still fails.

Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE
Transactions on Software Engineering 28(2), 2002, algorithm ddmin.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Fails = Callable[[frozenset[int]], bool]


class OutOfTriesError(Exception):
    """No try is left; caught in this module's callers and never shown."""


class Trials:
    """Asks whether a set of parts fails: each set once, and not more than ``limit`` sets.

    Args:
        fails: what is asked; the same set always gets the same answer.
        limit: tries.
        advance: told after each try how many were made, and of how many.

    Attributes:
        tries: how many sets were tried.
        best: the smallest set that failed.
    """

    def __init__(
        self, fails: Fails, limit: int, advance: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        self._fails, self._limit, self._advance = fails, limit, advance
        self._known: dict[frozenset[int], bool] = {}
        self.best: frozenset[int] | None = None

    @property
    def tries(self) -> int:
        """How many sets were tried."""
        return len(self._known)

    def __call__(self, parts: Sequence[int]) -> bool:
        """Whether the set of ``parts`` fails.

        Raises:
            OutOfTriesError: it is not known and no try is left.
        """
        wanted = frozenset(parts)
        if wanted not in self._known:
            if self.tries >= self._limit:
                raise OutOfTriesError
            failed = self._known[wanted] = self._fails(wanted)
            self._advance(self.tries, self._limit)
            if failed and (self.best is None or len(wanted) < len(self.best)):
                self.best = wanted
        return self._known[wanted]


@dataclass(frozen=True)
class Minimised:
    """What is left.

    Attributes:
        parts: a set that fails, in order.
        minimal: whether it is 1-minimal: without any single one of them it does not fail. Not so
            where the tries ran out.
    """

    parts: tuple[int, ...]
    minimal: bool


def minimise(parts: Sequence[int], trials: Trials) -> Minimised:
    """Return a 1-minimal part of ``parts``, which must be known to fail, or the best so far."""
    kept = tuple(sorted(parts))
    try:
        while len(kept) > 1:
            smaller = _smaller(kept, trials)
            if smaller is None:
                break
            kept = smaller
    except OutOfTriesError:
        assert trials.best is not None  # `parts` failed
        return Minimised(tuple(sorted(trials.best)), minimal=False)
    return Minimised(kept, minimal=True)


def _smaller(kept: tuple[int, ...], trials: Trials) -> tuple[int, ...] | None:
    """Return a failing chunk of ``kept``, or what fails without one; ``None`` if there is none."""
    pieces = 2
    while True:
        chunks = list(_split(kept, pieces))
        for chunk in chunks:
            if trials(chunk):
                return chunk
        for chunk in chunks:
            rest = tuple(part for part in kept if part not in set(chunk))
            if trials(rest):
                return rest
        if pieces == len(kept):
            return None
        pieces = min(2 * pieces, len(kept))


def _split(parts: tuple[int, ...], pieces: int) -> Iterator[tuple[int, ...]]:
    bounds = [len(parts) * number // pieces for number in range(pieces + 1)]
    for start, stop in itertools.pairwise(bounds):
        yield parts[start:stop]
