"""``parity report``: render a run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import Json, out, print_json
from harness.errors import RunError
from harness.report import write_report
from harness.verdicts import Run


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("report", epilog="Example: parity report reports/latest/run.json --out /tmp/page")(
        report
    )


def report(
    run_file: Annotated[Path, typer.Argument(metavar="RUN.json", help="A run document.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for index.html and the rest.")],
    json: Json = False,
) -> None:
    """Render the report of a run: index.html, junit.xml and summary.md."""
    try:
        text = run_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"can't read run {run_file}: {error}") from error
    run = Run.from_json(text)
    page = write_report(run, out_dir)
    if json:
        print_json({"page": str(page), "verdict": run.verdict.value})
    else:
        out.print(f"{page}\n{run.sentence()}")
