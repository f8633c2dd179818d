"""What options of several commands mean, and what they are unless somebody says otherwise."""

from __future__ import annotations

from typing import Annotated

import typer

EXTREMES = ("song", "hot", "quiet", "silence")
"""Cases by default: music; noise driven into clipping and noise at -60 dBFS, where what overflows
and what vanishes shows; and silence, out of which nothing may come."""

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
