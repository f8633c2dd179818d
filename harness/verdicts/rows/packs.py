"""What a run keeps of a pack: how each operation of an implementation fared."""

from __future__ import annotations

from dataclasses import dataclass

from harness.verdicts.jsondata import Count


@dataclass(frozen=True)
class PackOperation:
    """One operation of a pack.

    Attributes:
        name, summary: of the operation, and what it computes.
        passed, failed, missing: tensors.
        headroom_db: the least of those that were judged; None if none was.
        first: the first tensor that fails, or else the first that is missing; empty if none.
        reason: what is wrong with it.
        notes: what the sizes of errors say.
    """

    name: str
    summary: str
    passed: Count
    failed: Count
    missing: Count
    headroom_db: float | None
    first: str
    reason: str
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """Its verdict; the page colours by it."""
        return "fail" if self.failed else "not_evaluated" if self.missing else "pass"


@dataclass(frozen=True)
class PackResults:
    """Results that were held against a pack.

    Attributes:
        pack: its name.
        required: how many cases must be run.
        narrowed: what was judged, if not everything.
        command: what made the results, if it was started here.
        operations: in the order of the pack.
        extra: tensors that nobody asked for.
    """

    pack: str
    required: Count
    narrowed: str
    command: str
    operations: tuple[PackOperation, ...]
    extra: tuple[str, ...]
