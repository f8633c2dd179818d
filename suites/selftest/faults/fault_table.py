"""Every fault for people: ``python -m suites.selftest.faults.fault_table`` prints the catalogue.

It is what ``docs/faults.md`` ends with: grouped by level and by what has to catch a bug, each with
a word for where it was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from harness.faults import LEVELS, Fault, all_faults, registry

SEEN = {
    "conversions": registry.CONVERSIONS,
    "ports": registry.PORTS,
    "package": registry.MIXED_PACKAGE,
    "quiet": registry.QUIET_MODELS,
    "measured": registry.MEASURED,
    "tools": registry.TOOLS,
    "own": registry.OWN,
    "classic": registry.CLASSIC,
}


def markdown() -> str:
    """Return the words for where bugs were seen, and a section for each level."""
    words = [f"- *{word}*: {source}" for word, source in SEEN.items()]
    sections = ["\n".join(words)]
    for level, meaning in LEVELS.items():
        of_level = [fault for fault in all_faults() if fault.level == level]
        sections += [f"### {level}: {meaning}", *_groups(of_level)]
    return "\n\n".join(sections) + "\n"


def _groups(faults: Iterable[Fault]) -> Iterator[str]:
    def catcher(fault: Fault) -> str:
        return fault.caught_by

    for name, group in groupby(sorted(faults, key=catcher), key=catcher):
        yield f"Must be caught by: {name.replace('_', ' ')}."
        yield "\n".join(map(_row, group))


def _row(fault: Fault) -> str:
    word = {source: word for word, source in SEEN.items()}[fault.source]
    return f"- `{fault.name}`{' (sample)' if fault.sample else ''} *{word}*: {fault.bug}"


if __name__ == "__main__":
    print(markdown(), end="")
