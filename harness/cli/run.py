"""``parity run``: every layer that applies, on a network that a ``parity.toml`` declares."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import Json, log, print_json
from harness.cli.devices import Devices
from harness.cli.outputs import folder_option
from harness.cli.report import baseline_file, read_run
from harness.errors import DeclarationError, NotEvaluatedError, ParityError, UnknownNameError
from harness.places import PROJECT
from harness.plugins import DECLARATION, PLUGINS

if TYPE_CHECKING:
    from harness.subjects.declared import Declaration

commands = typer.Typer()

_USAGE, _NO_TESTS = 4, 5
"""Exit statuses of pytest that are none of a run."""


@commands.command(
    "run",
    epilog="Examples: parity run; parity run networks/decoder/parity.toml --recipe fp16; "
    "parity run --case loud --out page; parity run --recipe fp16 --device ane-m1 --device gpu",
)
def run(
    declaration: Annotated[
        Path, typer.Argument(metavar="parity.toml", help="What declares the network.")
    ] = Path(DECLARATION),
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="Only this precision recipe: a name or TOML file (repeatable)."),
    ] = None,
    case: Annotated[list[str] | None, typer.Option(help="Only this case (repeatable).")] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="An engine beside the default ones (repeatable).")
    ] = None,
    device: Devices = None,
    target: Annotated[
        Path | None, folder_option("Report; default: reports/latest beside the file.")
    ] = None,
    history: Annotated[
        Path | None,
        folder_option("Runs before; default: reports/history beside the file.", option="--history"),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="A file of 'parity baseline accept', or none; default: reports/baseline.json "
            "beside the file."
        ),
    ] = None,
    waivers: Annotated[
        Path | None,
        typer.Option(help="Accepted failures; default: waivers.toml beside the file, if there."),
    ] = None,
    json: Json = False,
) -> None:
    """Evaluate your own network, as this project's is: conversion, and end to end if it separates.

    Goldens are built by PyTorch where there are none, in golden/ beside the file, and refused where
    they are stale. Of the network's layers, the same suites ask the same questions as of HTDemucs.
    """
    from harness.mil.numerics.device import device_of
    from harness.subjects.declared import read_declaration
    from harness.verdicts import Baseline

    folder = declaration.parent
    reports = folder / "reports"
    before = baseline_file(baseline, reports / "baseline.json")
    if before is not None:
        Baseline.read(before)
    if not declaration.is_file():
        raise DeclarationError(
            f"{declaration} is no file: name the parity.toml that declares your network, or write "
            "one with its name, factory and inputs (docs/networks.md shows one of five lines)"
        )
    declared = read_declaration(declaration)
    for name in device or ():
        device_of(name)
    _look_before(declared, case or [], recipe or [])
    out = target or reports / "latest"
    words = ["--declaration", declaration, "--parity-out", out]
    words += ["--parity-history", history or reports / "history"]
    if before is not None:
        words += ["--parity-baseline", before]
    accepted = waivers or folder / "waivers.toml"
    if waivers is not None or accepted.is_file():
        words += ["--parity-waivers", accepted]
    chosen = {"--recipe": recipe, "--case": case, "--engine": engine, "--device": device}
    for option, values in chosen.items():
        words += [word for value in values or () for word in (option, value)]
    status = _pytest(declared, [str(word) for word in words], quiet=json)
    if json:
        document = {"exit_code": status, "report": str(out / "index.html")}
        if status in (0, 1, NotEvaluatedError.exit_code):
            found = read_run(out / "run.json")
            document |= {"verdict": found.verdict.value, "sentence": found.sentence()}
        print_json(document)
    raise typer.Exit(status)


def _look_before(declared: Declaration, cases: list[str], recipes: list[str]) -> None:
    """Raise what can be said before anything is evaluated."""
    from harness.conversion import named_recipes
    from harness.golden import load_cases
    from harness.golden.builder import call_once_each, case_inputs
    from harness.subjects import ARCHITECTURES, own_networks
    from harness.subjects.declared import DeclaredNetwork

    other = own_networks().get(declared.name)  # of a plugin, or of the file that lies here
    same = other is not None and other.home is not None and other.home.samefile(declared.path)
    if declared.name in ARCHITECTURES or (other is not None and not same):
        raise DeclarationError(
            f"{declared.path} calls its network {declared.name!r}, as another one is called "
            "already; give it a name of its own"
        )
    known = load_cases(declared.path)
    for name in cases:
        if name not in known:
            raise UnknownNameError(f"case in {declared.path}", name, known)
    named_recipes(recipes or declared.recipes)
    network = DeclaredNetwork(declared)
    log.print(f"looking at {declared.name}: {declared.factory}")
    found = network.interface
    for name, given in known.items():
        if not given.is_file and name in (cases or known):
            inputs = case_inputs(given, network)
            if given.calls > 1:  # what a later one takes is known once those before it were made
                call_once_each(network, inputs)
    taps = len(found.inner_taps)
    log.print(
        f"{len(found.arguments)} inputs, {len(found.states)} states, {len(found.returned)} "
        f"outputs, {taps} taps, {len(known)} cases"
    )


def _pytest(declared: Declaration, words: list[str], *, quiet: bool) -> int:
    """Run the suites in a process of their own; returns the exit code of the run."""
    suites = PROJECT / "suites"
    layers = ["surgery", "conversion", *(["end_to_end"] if declared.audio else [])]
    settings = Path(__file__).parents[1] / "pytest_plugin" / "network.ini"
    command = [sys.executable, "-m", "pytest", *(str(suites / layer) for layer in layers)]
    command += ["-c", str(settings), "--rootdir", str(PROJECT), "--confcutdir", str(suites)]
    command += ["-p", "harness.pytest_plugin", *words]
    named = [name for name in os.environ.get(PLUGINS, "").split(os.pathsep) if name]
    plugins = os.pathsep.join([*named, str(declared.path.resolve())])
    environment = os.environ | {PLUGINS: plugins, "PYTEST_ADDOPTS": ""}
    stdout = sys.stderr.fileno() if quiet else None
    status = subprocess.run(command, stdout=stdout, env=environment, check=False).returncode
    if status == _USAGE:
        return ParityError.exit_code
    return NotEvaluatedError.exit_code if status == _NO_TESTS else status
