"""What a notebook shows of a run: the verdict, the ladder, and what failed first, as HTML.

In: a run, or rows of text. Out: HTML without script, style sheet or address, in which text of a run
is text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from harness.verdicts.ladder import LayerSummary

COLOURS: Final = {"pass": "#1a7f37", "fail": "#cf222e", "not_evaluated": "#9a6700"}
MOST_REASONS: Final = 5
_LONGEST: Final = 300


def run_html(
    verdict: str, sentence: str, layers: Iterable[LayerSummary], reasons: Sequence[str]
) -> str:
    """Return a run as a notebook shows it: its verdict, its ladder, and why it is not green."""
    rows = [
        (
            layer.layer,
            layer.verdict.value.replace("_", " "),
            *(layer.counts[name] for name in ("pass", "fail", "not_evaluated")),
            "" if layer.worst_headroom_db is None else f"{layer.worst_headroom_db:.1f} dB",
        )
        for layer in layers
        if layer.required or any(layer.counts.values())
    ]
    columns = ("layer", "verdict", "pass", "fail", "not evaluated", "least headroom")
    items = [f"<li>{_text(reason)}</li>" for reason in reasons[:MOST_REASONS]]
    more = len(reasons) - len(items)
    items += [f"<li>and {more} more</li>"] if more else []
    listed = f"<ul>{''.join(items)}</ul>" if items else ""
    return headline(verdict, sentence) + table(columns, rows) + listed


def headline(verdict: str, sentence: str) -> str:
    """Return a verdict in its colour, and a sentence."""
    word = verdict.replace("_", " ").upper()
    return f'<p><b style="color:{COLOURS[verdict]}">{word}</b> {_text(sentence)}</p>'


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table."""
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: object) -> str:
    text = str(value)
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return escape(text.encode("utf-8", "replace").decode())
