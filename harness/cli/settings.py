"""What commands say of subjects: how one is named, and ``--set`` for what a file leaves open."""

from __future__ import annotations

from typing import Annotated

import typer

SUBJECT_HELP = "NAME, NAME@seeded or NAME@PATH, and ?key=value&... for what PATH leaves open."

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="An option of the subject, as behind its '?': segment=10, sources=vocals,other, ... "
        "(repeatable).",
    ),
]
