"""Bounds on the execution of programs: how long it may take, how often blocks may run.

::

    with mil.time_limit(60):
        model.predict(inputs)

A stranger's program may hold a loop that never ends. The executor looks at the clock before each
operation, those in blocks included, so a run ends at most one operation after its time is over. The
limit holds for everything that is executed inside the ``with``, together, in this thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NoReturn

from harness.errors import ExecutionError, ParityError
from harness.mil.program import Operation

# A loop that a broken or hostile program never leaves has to end some time; an honest program of
# this many steps would take minutes here.
MAX_BLOCK_RUNS = 2_000_000


@dataclass(frozen=True)
class Deadline:
    """When execution has to be over.

    Attributes:
        limit_s: how long it may take, for messages.
        at_s: the moment, by `time.monotonic`.
    """

    limit_s: float = math.inf
    at_s: float = math.inf


_NEVER = Deadline()
_current: ContextVar[Deadline] = ContextVar("deadline", default=_NEVER)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Let everything that is executed inside take at most ``seconds`` in all; no limit for None.

    Inside another limit, the earlier end holds. When the time is over, `Model.predict` and all that
    run programs raise an ExecutionError, which names the operation and the rounds of its loops.

    Raises:
        ParityError: ``seconds`` is no positive number.
    """
    if seconds is not None and not 0 < seconds < math.inf:
        raise ParityError(f"the time limit is {seconds:g} s; expected a positive number of seconds")
    mine = _NEVER if seconds is None else Deadline(seconds, time.monotonic() + seconds)
    token = _current.set(min(mine, _current.get(), key=lambda deadline: deadline.at_s))
    try:
        yield
    finally:
        _current.reset(token)


def current_limit_s() -> float:
    """Return how long what is executed here may take, by `time_limit`; ``inf`` without one."""
    return _current.get().limit_s


@dataclass
class _Entered:
    """An operation whose blocks are running, and how often its second block has been begun."""

    operation: Operation
    rounds: int = 0

    def __str__(self) -> str:
        rounds = f" (round {self.rounds:,})" if self.operation.type == "while_loop" else ""
        return f"{self.operation}{rounds}"


@dataclass
class Watchdog:
    """Sees one execution of a program come to an end, and says where it was if it does not.

    Attributes:
        deadline: when it has to be over.
        blocks: how often a block has run so far.
        entered: the operations whose blocks are running, outermost first.
    """

    deadline: Deadline = field(default_factory=_current.get)
    blocks: int = 0
    entered: list[_Entered] = field(default_factory=list)

    def before(self, operation: Operation) -> None:
        """Look at the clock before ``operation``; where it has blocks, they are watched.

        Raises:
            ExecutionError: the time is over.
        """
        if self.deadline is not _NEVER and time.monotonic() > self.deadline.at_s:
            self._stop(f"the time limit of {self.deadline.limit_s:g} s is over", operation)
        if operation.blocks:
            self.entered.append(_Entered(operation))

    def after(self, operation: Operation) -> None:
        """Leave ``operation``."""
        if operation.blocks:
            self.entered.pop()

    def block(self, number: int) -> None:
        """Note that the block ``number`` of the innermost operation is about to run.

        Raises:
            ExecutionError: blocks have run more often than in any honest program.
        """
        self.blocks += 1
        self.entered[-1].rounds += number == 1  # of a loop: its body
        if self.blocks > MAX_BLOCK_RUNS:
            self._stop(f"blocks ran {MAX_BLOCK_RUNS:,} times without coming to an end")

    def _stop(self, reason: str, operation: Operation | None = None) -> NoReturn:
        inside = ", in it ".join(map(str, self.entered))
        where = f"inside operation {inside}" if inside else f"before operation {operation}"
        raise ExecutionError(
            f"{reason}: stopped {where}; see whether it comes to an end, or allow more"
        )
