"""What commands print, and how they end.

Results go to stdout, everything else (progress, warnings, errors) to stderr. With ``--json`` stdout
carries exactly one JSON document, also when the command fails.

Names come from strangers' files. So no text is read as markup ("[/]" may be a name): what has a
colour is a `Text`. And every text can be printed, halves of surrogate pairs included, which stand
for the bytes of a file name that is no UTF-8.
"""

from __future__ import annotations

import io
import json
import math
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from harness.errors import one_line

if TYPE_CHECKING:
    from harness.verdicts import Record, Run, Verdict

_WARNING_LENGTH = 2000  # PyTorch's have several sentences

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
log = Console(stderr=True, highlight=False, markup=False, emoji=False)

MOST_LISTED = 20
"""Lines or names of one kind that a command prints where hundreds would hide its verdict."""

COLOURS = {"pass": "green", "fail": "red", "not_evaluated": "yellow"}
"""By the value of a verdict."""


def escape_what_cannot_be_printed() -> None:
    """Have stdout and stderr write as an escape what their encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(document: Mapping[str, Any]) -> None:
    """Print one document on stdout, as `json_text` writes it."""
    text = json_text(document)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    if text.encode(encoding, "replace").decode(encoding) != text:  # a terminal without Unicode
        text = json.dumps(json.loads(text), indent=1)
    typer.echo(text)


def answer(as_json: bool, document: Mapping[str, Any], show: Callable[[], None]) -> None:
    """Print the result of a command: its document with ``--json``, else as ``show`` prints it."""
    if as_json:
        print_json(document)
    else:
        show()


def listed(names: Sequence[str], most: int = MOST_LISTED) -> str:
    """Return the first of ``names`` as they are told in a line, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def print_failures(failures: Sequence[str]) -> None:
    """Print a line for each of the first failures, and how many more there are."""
    for failure in failures[:MOST_LISTED]:
        out.print(Text.assemble(("fail", COLOURS["fail"]), f": {failure}"))
    if len(failures) > MOST_LISTED:
        left = len(failures) - MOST_LISTED
        out.print(f"and {left} more that fail: --json and --report have them")


def note(line: str) -> None:
    """Say on stderr what was done to what somebody gave."""
    log.print(f"note: {line}", soft_wrap=True)


def mark_page(folder: Path | None, record: Record | None = None) -> None:
    """Say in the report in ``folder``, if there is one, that a newer run has begun."""
    if folder is not None:
        from harness.report import mark_overtaken

        mark_overtaken(folder, record)


def write_page(run: Run, folder: Path | None, record: Record | None = None) -> None:
    """Write run.json and the report to ``folder``, if there is one, and say where."""
    if folder is not None:
        from harness.report import write_report

        log.print(f"report: {write_report(run, folder, record)}")


def write_document(target: Path | None, document: Mapping[str, Any]) -> None:
    """Write a document as JSON to ``target``, if there is one."""
    if target is not None:
        from harness.atomic import write_text

        write_text(target, json_text(document) + "\n")


def json_text(document: Mapping[str, Any]) -> str:
    """Return one document as JSON; numbers that JSON lacks become strings."""
    text = json.dumps(_finite(document), indent=1, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)  # they have no UTF-8


_SURROGATE = re.compile("[\ud800-\udfff]")


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Sequence[int] = (),
) -> None:
    """Print a table; the columns in ``right`` are aligned to the right.

    A cell that is no `Text` is shown as its ``str``, without control characters.
    """
    table = Table(title=title, title_justify="left", header_style="bold", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else _printable(cell) for cell in row))
    out.print(table)


def verdict_text(verdict: Verdict) -> Text:
    """Return the verdict with its colour; the word alone says it, too."""
    return Text(verdict.value.replace("_", " "), style=COLOURS[verdict.value])


def decibels(value: float | None) -> str:
    """Return a ratio as text: identical tensors are "exact"."""
    if value is None:
        return "-"
    return "exact" if math.isinf(value) and value > 0 else f"{value:.2f} dB"


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """Yield ``advance(done, total)``: a bar with the time left, on stderr, if that is a terminal.

    Elsewhere (a CI log) one line is printed at every tenth of the work.
    """
    started, last, first = time.monotonic(), -1, 0

    def line(done: int, total: int) -> None:
        nonlocal last, first
        first = done if last < 0 else first  # what was there before took no time
        tenth = 10 * done // max(total, 1)
        if tenth != last:
            last, took_s = tenth, time.monotonic() - started
            left_s = took_s * (total - done) / (done - first) if done > first else 0.0
            left = f", about {left_s:.0f} s left" if left_s else ""
            log.print(f"{description}: {done}/{total} ({took_s:.0f} s{left})")

    if not log.is_terminal:
        yield line
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=log, transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Show Python warnings as one line each on stderr, without the source line."""

    def show(message: Warning | str, *_: object) -> None:
        said = one_line(str(message), _WARNING_LENGTH)
        log.print(Text.assemble(("warning: ", "yellow"), said), soft_wrap=True)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _printable(cell: object) -> str:
    text = str(cell)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
