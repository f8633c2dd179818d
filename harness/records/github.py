"""What failed as workflow commands of GitHub Actions: ``::error title=...::message``.

In: a run. Out: lines for the log of a step, which GitHub shows as annotations: what failed as
errors, what was not evaluated as warnings, what is waived as notices.

GitHub keeps ten annotations of a kind for each step and drops the rest in silence, and cuts long
messages. So there are never more than `MOST`, the last of which says how many more there are, and
what matters most comes first: what the checks rest on, then checks by their headroom. In a message
``%``, CR and LF are escaped, in a property ``:`` and ``,``, too: nothing in a run's text can end
its line and begin a command of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from harness.report.text import printable, shorten
from harness.verdicts import Check, Run, sortable

MOST: Final = 10
"""Of one kind, for one step."""
LONGEST_TITLE: Final = 200
LONGEST_MESSAGE: Final = 2000
"""Characters before escaping; GitHub cuts a message at 4,096."""

Note = tuple[str, str]
"""A title and a message."""


def annotations_of(run: Run) -> tuple[str, ...]:
    """Return the annotations of ``run``, one line each; none for a run that passes unwaived."""
    kinds = (
        ("error", _failures(run)),
        ("warning", (("not evaluated", reason) for reason in run.missing)),
        ("notice", _waived(run)),
    )
    return tuple(line for kind, notes in kinds for line in _lines(kind, list(notes)))


def _failures(run: Run) -> Iterator[Note]:
    own = {f"{check.id}: {check.outcome.reason}" for check in run.failing}
    yield from (("the run", reason) for reason in run.red if reason not in own)
    failing = sorted(run.failing, key=lambda check: sortable(check.outcome.headroom_db))
    yield from map(_failure, failing)


def _failure(check: Check) -> Note:
    outcome = check.outcome
    parts = [
        f"{check.id}: {outcome.reason}",
        f"expected: {outcome.expected}" if outcome.expected else "",
        f"observed: {outcome.observed}" if outcome.observed else "",
        f"reproduce: {check.command}" if check.command else "",
    ]
    gate = check.gate.name if check.gate else check.layer
    where = [check.labels[name] for name in ("subject", "recipe", "case") if name in check.labels]
    return " ".join([gate, *where]), "\n".join(filter(None, parts))


def _waived(run: Run) -> Iterable[Note]:
    for check in run.checks:
        waiver = run.waived.get(check.id)
        if waiver is not None:
            yield f"waived until {waiver.until}", f"{check.id}: {waiver.reason}"


def _lines(kind: str, notes: Sequence[Note]) -> Iterator[str]:
    shown = notes if len(notes) <= MOST else notes[: MOST - 1]
    for title, message in shown:
        yield f"::{kind} title={_property(title)}::{_data(message)}"
    if len(notes) > len(shown):
        rest = f"{len(notes) - len(shown)} more: see the job summary and the report"
        yield f"::{kind} title={_property('and more')}::{_data(rest)}"


def _data(text: str, limit: int = LONGEST_MESSAGE) -> str:
    text = shorten(printable(text), limit)
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text, LONGEST_TITLE).replace(":", "%3A").replace(",", "%2C")
