"""The table of all faults for people: ``python -m harness.faults.table`` prints it as Markdown."""

from __future__ import annotations

from harness.faults.registry import LEVELS, Fault, all_faults


def markdown() -> str:
    """Return a section with a table for each level; what ``docs/faults.md`` shows."""
    known = all_faults()
    sections = []
    for level, meaning in LEVELS.items():
        rows = [_row(fault) for fault in known if fault.level == level]
        lines = [
            f"### {level}: {meaning}",
            "",
            "| fault | the bug | must be caught by | source |",
            "|---|---|---|---|",
            *rows,
        ]
        sections.append("\n".join(lines))
    return "\n\n".join(sections) + "\n"


def _row(fault: Fault) -> str:
    mark = " *" if fault.sample else ""
    cells = [f"`{fault.name}`{mark}", fault.bug, fault.caught_by.replace("_", " "), fault.source]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


if __name__ == "__main__":
    print(markdown(), end="")
