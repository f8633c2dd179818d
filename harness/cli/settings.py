"""What options of several commands mean, and what they are unless somebody says otherwise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.outputs import folder_option

SUBJECT_HELP = "NAME, NAME@seeded or NAME@PATH, and ?key=value&... for what PATH leaves open."

Package = Annotated[
    Path, typer.Argument(metavar="X.mlpackage", help="Any ML Program: .mlpackage or .mlmodelc.")
]
GoldenRoot = Annotated[
    Path, typer.Option("--golden-root", help="The golden folder, with recipes.toml.")
]
Numerics = Annotated[
    str,
    typer.Option(
        help="How the executor computes: storage, native, fp16_accumulate, float64, each also with "
        "+ftz, or a device; see docs/numerics.md."
    ),
]
Function = Annotated[
    str | None, typer.Option(help="Which function of the program, if it has several.")
]
LabCases = Annotated[
    list[str] | None,
    typer.Option("--case", help="A golden case, or song:SEED; repeat for several."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--inputs",
        metavar="FILE|random:SEED",
        help="For a package: its inputs by name, .safetensors, .npz or a folder of .npy; or drawn "
        "from a seed. Repeat for several cases.",
    ),
]
Owner = Annotated[
    str | None,
    typer.Option(
        "--subject",
        help="For a package in another converter's layout: the model that it was converted from. "
        "Its golden cases are given to the package by the adapter beside it ('parity adapt').",
    ),
]
GivenInputs = Annotated[
    str,
    typer.Option(
        "--inputs",
        metavar="FILE|random:SEED",
        help="Inputs by name: .safetensors, .npz or a folder of .npy; or drawn from a seed.",
    ),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        metavar="X.mlpackage",
        help="The same network in FP32 as a package, instead of a subject; needs --inputs.",
    ),
]
Fp32Package = Annotated[
    Path | None, typer.Option(help="The subject's FP32 package; converted if none is given.")
]


def finite(value: float | None) -> float | None:
    """Return a number that an option was given; nothing is above NaN, and everything above -inf."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def number_option(help: str, *names: str, **more: Any) -> Any:
    """Return an option that takes a finite number."""
    return typer.Option(*names, callback=finite, help=help, **more)


def _within(context: typer.Context, seconds: float | None) -> float | None:
    """Bound what a command executes of packages, as long as it runs."""
    if finite(seconds) is not None:
        from harness import mil

        context.with_resource(mil.time_limit(seconds))
    return seconds


TimeLimit = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        callback=_within,
        help="Stop executing packages after so long: a loop in one may have no end.",
    ),
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="PARITY_STORE",
        help="Share what is made with other machines: a folder, s3://BUCKET/PATH, gs://...; see "
        "docs/stores.md.",
    ),
]
Page = Annotated[
    Path | None,
    folder_option("Also write run.json and the report to this folder.", option="--report"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="An option of the subject, as behind its '?': segment=10, sources=vocals,other, ... "
        "(repeatable).",
    ),
]
Like = Annotated[
    str | None,
    typer.Option(
        help="demucs: through the file as Demucs' own command, which normalises it, overlaps by a "
        "quarter and pads with zeros (without its random shifts); takes the file into memory."
    ),
]
