"""What commands print, and how they end.

Results go to stdout, everything else (progress, warnings, errors) to stderr. With ``--json`` stdout
carries exactly one JSON document, also when the command fails.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from harness.verdicts import Verdict

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

out = Console(highlight=False, soft_wrap=True)
log = Console(stderr=True, highlight=False)

COLOURS = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.NOT_EVALUATED: "yellow"}


def print_json(document: Mapping[str, Any]) -> None:
    """Print one document on stdout, as `json_text` writes it."""
    typer.echo(json_text(document))


def json_text(document: Mapping[str, Any]) -> str:
    """Return one document as JSON; numbers that JSON lacks become strings."""
    return json.dumps(_finite(document), indent=1, ensure_ascii=False, allow_nan=False)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Sequence[int] = (),
) -> None:
    """Print a table; the columns in ``right`` are aligned to the right."""
    table = Table(title=title, title_justify="left", header_style="bold", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    out.print(table)


def verdict_text(verdict: Verdict) -> str:
    """Return the verdict with its colour; the word alone says it, too."""
    return f"[{COLOURS[verdict]}]{verdict.value.replace('_', ' ')}[/]"


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
    started, last = time.monotonic(), -1

    def line(done: int, total: int) -> None:
        nonlocal last
        tenth = 10 * done // max(total, 1)
        if tenth != last:
            last = tenth
            log.print(f"{description}: {done}/{total} ({time.monotonic() - started:.0f} s)")

    if not log.is_terminal:
        yield line
        return
    columns = (
        TextColumn("{task.description}"),
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
        log.print(Text.assemble(("warning: ", "yellow"), str(message)), soft_wrap=True)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
