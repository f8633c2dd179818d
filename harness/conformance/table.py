"""The conformance document as a Markdown page."""

from __future__ import annotations

from collections.abc import Mapping

from harness.conformance.results import Conformance
from harness.verdicts.rows.documents import failures_first

_FAILURES_SHOWN = 50


def to_markdown(document: Conformance) -> str:
    """Return the page: verdict, counts, the table by operation type, and what did not pass."""
    sections = [
        ["# Conformance with coremltools' own tests", "", document.sentence()],
        _counts(document),
        _operations(document),
        _named("Failed", [(r.id, r.reason) for r in document.failures[:_FAILURES_SHOWN]]),
        _named("Waived", [(r.id, r.reason) for r in document.waived]),
        _named("Stale waivers", [(w.id, w.reason) for w in document.stale_waivers]),
        _named("Problems", [("run", problem) for problem in document.problems]),
        _tallied("Converted only: no prediction was made", document.converted_only),
        _tallied("About other kinds of models", document.other_kind),
        _tallied("Refused by name: the engine has no such operation", document.refused),
        _tallied("Skipped by the tests themselves", document.skipped),
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in sections if lines)


def _counts(document: Conformance) -> list[str]:
    counts = {name.replace("_", " "): number for name, number in document.counts.items()}
    versions = document.provenance.get("versions", {})
    return [
        f"coremltools {versions.get('coremltools', '?')}; {document.selection} of "
        f"{document.collected} tests of ML Programs; {document.predictions} predictions; "
        f"{document.duration_s:.0f} s.",
        "",
        "| " + " | ".join(counts) + " |",
        "|" + "---:|" * len(counts),
        "| " + " | ".join(str(number) for number in counts.values()) + " |",
    ]


def _operations(document: Conformance) -> list[str]:
    if not document.operations:
        return []
    lines = [
        "## By operation type",
        "",
        "A test counts for every operation type in its programs.",
        "",
        "| operation | passed | failed | waived |",
        "|---|---:|---:|---:|",
    ]
    return lines + [
        f"| `{row.operation}` | {row.passed} | {row.failed} | {row.waived} |"
        for row in failures_first(document.operations)
    ]


def _named(title: str, entries: list[tuple[str, str]]) -> list[str]:
    if not entries:
        return []
    lines = [f"- `{_one_line(name)}`: {_one_line(reason)}" for name, reason in entries]
    return [f"## {title}", "", *lines]


def _tallied(title: str, tally: Mapping[str, int]) -> list[str]:
    if not tally:
        return []
    lines = [f"| {_one_line(name)} | {number} |" for name, number in tally.items()]
    return [f"## {title}", "", "| | tests |", "|---|---:|", *lines]


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
