"""``parity figures``: the figures of a run as files, for papers, pull requests and slides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.console import Json, answer, log, out
from harness.cli.outputs import folder_option
from harness.cli.report import Attach, RunFile, read_run

commands = typer.Typer()


@commands.command(
    "figures",
    epilog="Examples: parity figures reports/latest/run.json --out figures; "
    "parity figures reports/latest/run.json --only stems --only 'taps-mini-*' --format pdf "
    "--width column --out paper; "
    "parity figures reports/latest/run.json --attach mini.json --only pareto --out figures",
)
def figures(
    run_file: RunFile,
    out_dir: Annotated[Path, folder_option("Folder for the files.")],
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="png, svg or pdf; repeatable. Default: all three."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="A kind of figure (operations, taps, stems, timeline, spectrograms, "
            "sensitivities, pareto), a name or a pattern of names; repeatable."
        ),
    ] = None,
    width: Annotated[
        str,
        typer.Option(help="column (3.4 in), page (7 in), slide (10 in), or inches from 3.2 to 10."),
    ] = "page",
    attach: Attach = None,
    json: Json = False,
) -> None:
    """Draw the figures of a run as files, in one style, and say what the run lacks.

    The same run gives the same files. They appear together; other files of the folder stay.
    """
    from harness.figures import (
        FORMATS,
        Paper,
        chosen,
        drawings_of,
        lacking,
        width_in,
        write_figures,
    )

    run = read_run(run_file, attach or ())
    paper = Paper.of(width_in(width), run)
    drawings = drawings_of(run)
    files = write_figures(chosen(drawings, only or ()), paper, out_dir, formats or FORMATS)
    missing = {} if only else lacking(drawings)
    written = {name: list(map(str, paths)) for name, paths in files.items()}

    def show() -> None:
        for paths in written.values():
            out.print("\n".join(paths))
        for sentence in missing.values():
            log.print(sentence, soft_wrap=True)

    answer(json, {"figures": written, "lacking": missing}, show)
