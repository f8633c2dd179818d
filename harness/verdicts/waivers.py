"""Waivers: failures that a maintainer knows of and accepts for a while, one by one.

In: a TOML file with one table for each waived check::

    [[waiver]]
    check = "end_to_end/end_to_end/mini/song/fp32/mil/storage/vocals"
    reason = "torch 2.14 rounds the last layer norm differently; see the issue"
    since = 2026-11-01
    until = 2026-12-01
    lowest_headroom_db = -0.5

Out: `Waiver` values, which a run judges. A waiver is no blank cheque. It names one check in full,
with no pattern; it ends, at most `LONGEST_DAYS` after it began; it covers a failure down to a
headroom, and no failure that has none (another shape, NaN). One that covers nothing any more turns
the run red: its check passes, is gone, is exploratory, or got worse, or its time is over. Only
checks can be waived: never what was not evaluated, a golden, a fault that escaped, or a problem of
the harness.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from harness.bounded import TOML_LIMIT_BYTES, parse_toml, read_text
from harness.errors import RunError
from harness.verdicts.checks import Check, Verdict
from harness.verdicts.kinds import another_kind

LONGEST_DAYS: Final = 90
_FIELDS: Final = {
    "check": str,
    "reason": str,
    "since": date,
    "until": date,
    "lowest_headroom_db": (int, float),
}


@dataclass(frozen=True)
class Waiver:
    """One failure that is accepted for a while.

    Attributes:
        check: the identity of the check, in full.
        reason: why, so that a reader can check it.
        since, until: the first and the last day, as ISO dates.
        lowest_headroom_db: how bad the failure may be: negative, at worst ``-inf``.

    Raises:
        RunError: a date is none, the reason is empty, or it lasts too long.
    """

    check: str
    reason: str
    since: str
    until: str
    lowest_headroom_db: float

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise RunError(f"the waiver of {self.check!r} has no reason; say why it may fail")
        if not self.lowest_headroom_db < 0:
            raise RunError(
                f"the waiver of {self.check!r} has a lowest_headroom_db of "
                f"{self.lowest_headroom_db:g}; a check with that headroom passes, expected less"
            )
        days = self._age(self.until)
        if not 0 <= days <= LONGEST_DAYS:
            raise RunError(
                f"the waiver of {self.check!r} lasts from {self.since} until {self.until}; "
                f"expected at most {LONGEST_DAYS} days: renew it when somebody has looked again"
            )

    def age_days(self, today: str) -> int:
        """Return for how many days it has held on the day ``today`` (an ISO date or time)."""
        return self._age(today[:10])

    def complaint(self, check: Check | None, today: str) -> str:
        """Return why it covers nothing, in words; empty if it covers ``check``, or waits for it.

        Args:
            check: the check that it names; ``None`` if the run has none of that name.
            today: when the run began, an ISO date or time.
        """
        day = today[:10]
        if not self.since <= day <= self.until:
            return (
                f"holds from {self.since} until {self.until}, and the run is of {day or 'no day'}"
            )
        if check is None:
            return "names no check of this run; a waiver names one check in full and no pattern"
        if not check.gating:
            return "names an exploratory check, which turns nothing red"
        if check.verdict is Verdict.PASS:
            return "is stale: the check passes, so remove the waiver"
        if check.verdict is Verdict.NOT_EVALUATED:
            return ""  # the check itself keeps the run from being green
        headroom = check.outcome.headroom_db
        if headroom is None or math.isnan(headroom):
            return f"can't cover a failure without a headroom ({check.outcome.reason})"
        if headroom < self.lowest_headroom_db:
            return (
                f"covers a headroom down to {self.lowest_headroom_db:g} dB, and the check has "
                f"{headroom:.2f} dB"
            )
        return ""

    def _age(self, day: str) -> int:
        try:
            return (date.fromisoformat(day) - date.fromisoformat(self.since)).days
        except ValueError as error:
            raise RunError(
                f"the waiver of {self.check!r} has a date that is none ({error}); write YYYY-MM-DD"
            ) from error


def covered(
    waivers: Sequence[Waiver], checks: Sequence[Check], today: str
) -> tuple[dict[str, Waiver], tuple[str, ...]]:
    """Return the waiver of each failure that is covered, and what is wrong with the others."""
    by_id = {check.id: check for check in checks}
    found: dict[str, Waiver] = {}
    complaints = []
    for place, waiver in enumerate(waivers):
        check = by_id.get(waiver.check)
        complaint = waiver.complaint(check, today)
        if any(waiver.check == other.check for other in waivers[:place]):
            complaint = "is there twice"
        if complaint:
            complaints.append(f"waiver {waiver.check}: {complaint}")
        elif check is not None and check.verdict is Verdict.FAIL:
            found[waiver.check] = waiver
    return found, tuple(complaints)


def applicable(waivers: Sequence[Waiver], checks: Sequence[Check]) -> tuple[Waiver, ...]:
    """Return the waivers of checks that are there: a narrowed run is not meant to have them all."""
    here = {check.id for check in checks}
    return tuple(waiver for waiver in waivers if waiver.check in here)


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """Return the waivers in the file at ``path``.

    Raises:
        RunError: it can't be read, or a waiver is not as it has to be; the message names it.
    """
    text = read_text(Path(path), TOML_LIMIT_BYTES, RunError)
    try:
        document = parse_toml(text)
    except ValueError as error:
        other = another_kind(text, "TOML file of waivers")
        reason = f"this is {other}" if other else error
        raise RunError(f"waivers {path} can't be read: {reason}") from error
    rows = document.pop("waiver", [])
    if document or not isinstance(rows, list):
        strange = next(iter(document), "waiver")
        raise RunError(
            f"{path}: {strange!r} is unknown; expected tables [[waiver]] and nothing else"
        )
    try:
        return tuple(_waiver(row) for row in rows)
    except RunError as error:
        raise RunError(f"{path}: {error}") from error


def _waiver(row: Any) -> Waiver:
    if not isinstance(row, Mapping):
        raise RunError(f"a waiver is {row!r}, expected a table")
    name = row.get("check", "?")
    for field, kind in _FIELDS.items():
        if not isinstance(row.get(field), kind) or isinstance(row[field], bool):  # type: ignore[arg-type]
            raise RunError(f"the waiver of {name!r} has no {field}, or one of another type")
    strange = sorted(set(row) - set(_FIELDS))
    if strange:
        raise RunError(f"the waiver of {name!r} has the unknown key {strange[0]!r}")
    return Waiver(
        check=row["check"],
        reason=row["reason"],
        since=row["since"].isoformat()[:10],
        until=row["until"].isoformat()[:10],
        lowest_headroom_db=float(row["lowest_headroom_db"]),
    )
