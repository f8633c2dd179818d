"""What can be said of one golden, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class GoldenStatus(str, Enum):
    """The state of one golden on this machine."""

    MATCH = "match"
    """The file is sound and agrees with the committed fingerprint."""
    DRIFT = "drift"
    """The file is sound, but a tensor disagrees with the committed fingerprint."""
    MISSING = "missing"
    """It was built here, but the file is gone."""
    NOT_BUILT = "not_built"
    """It was never built here."""
    STALE = "stale"
    """It was made from another recipe, other weights or other versions."""
    CORRUPT = "corrupt"
    """The file's bytes are not those that were written."""
    UNRECORDED = "unrecorded"
    """The file is sound, but no fingerprint is committed that could vouch for it."""


ABSENT = frozenset({GoldenStatus.MISSING, GoldenStatus.NOT_BUILT})
"""What `GoldenStore.fetch` makes; nothing is lost by it."""
USABLE = frozenset({GoldenStatus.MATCH, GoldenStatus.UNRECORDED})


@dataclass(frozen=True)
class Finding:
    """What was found of one golden.

    Attributes:
        subject, case: names.
        status: the state now.
        reason: why, in one clause that names what differs.
        next_step: what to do; empty where there is nothing to do.
        was: the state in which the golden was found, if it was made during this call.
    """

    subject: str
    case: str
    status: GoldenStatus
    reason: str
    next_step: str = ""
    was: GoldenStatus | None = None

    @property
    def usable(self) -> bool:
        """Whether its tensors may be compared with; for an unrecorded one nobody else vouches."""
        return self.status in USABLE

    @property
    def run_status(self) -> str:
        """One word for a run.

        ``made``: never built here before, built on demand, and equal to the committed fingerprint.
        ``missing``: it was built here, had vanished and was made again; so it can't pass unseen.
        Otherwise the status.
        """
        if self.status is GoldenStatus.MATCH and self.was is GoldenStatus.NOT_BUILT:
            return "made"
        if self.status is GoldenStatus.MATCH and self.was is not None:
            return self.was.value
        return self.status.value

    @property
    def message(self) -> str:
        """One sentence: which golden, what is the matter, and the next step."""
        made = f" (made in this run: was {self.was.value})" if self.was is not None else ""
        step = f"; {self.next_step}" if self.next_step else ""
        golden = f"golden {self.case!r} of {self.subject!r}"
        return f"{golden} is {self.status.value}{made}: {self.reason}{step}"
