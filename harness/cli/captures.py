"""``parity kit``, ``parity calibrate``, ``parity capture``: what a Mac makes of a package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.atomic.products import RECORDING
from harness.cli.console import Json, answer, note, out, print_table
from harness.cli.outputs import file_option, folder_option
from harness.cli.settings import GivenInputs
from harness.errors import command_line

if TYPE_CHECKING:
    from harness.captures import Calibration, Capture, Match

_NEXT = (
    "on a Mac: 'swift recorder.swift', or 'pip install coremltools' and 'python recorder.py', "
    "in that folder"
)

Recording = Annotated[Path, folder_option("Folder that goes to a Mac.", kind=RECORDING)]

commands = typer.Typer()


@commands.command(
    "kit",
    epilog="Example: parity kit --out kit; then, on a Mac, 'cd kit' and 'swift recorder.swift'; "
    "then parity calibrate kit/capture-CPU_AND_NE.safetensors",
)
def kit(
    target: Recording,
    json: Json = False,
) -> None:
    """Write probes that tell how a device computes, and what records them on a Mac.

    The folder has one package of small operations, its inputs, and the same recorder twice: in
    Swift, and in Python with coremltools. Either runs the package on each compute unit.
    """
    from harness.captures import PROBES, write_kit

    write_kit(target)
    words = (
        f"{target}: {len(PROBES)} probes, their inputs and two recorders\n"
        f"{_NEXT}; then: {command_line('calibrate', target / 'capture-CPU_AND_NE.safetensors')}"
    )
    answer(json, {"out": str(target), "probes": list(PROBES)}, lambda: out.print(words))


@commands.command(
    "capture",
    epilog="Example: parity capture X.mlpackage --inputs in.safetensors --out recording; then, on "
    "a Mac, 'cd recording' and 'swift recorder.swift'",
)
def capture(
    package: Annotated[
        Path, typer.Argument(metavar="X.mlpackage", help="A package that is to run on a Mac.")
    ],
    inputs: GivenInputs,
    target: Recording,
    json: Json = False,
) -> None:
    """Write what records a package of your own on a Mac: the package, its inputs, two recorders.

    What was recorded is replayed by the engine 'capture', for the same inputs and no others.
    """
    from harness import mil
    from harness.captures import write_recording
    from harness.errors import PackageError
    from harness.workbench.given import given_inputs

    if package.suffix != ".mlpackage":
        raise PackageError(f"{package}: expected an .mlpackage, which a Mac compiles itself")
    model = mil.load(package)
    strange = [*model.states, *(made for made in model.outputs if made.shape is None)]
    if strange:
        raise PackageError(
            f"{package} has {strange[0]}, which neither recorder records; expected arrays alone, "
            "and no states"
        )
    given = given_inputs(inputs, model, numerics="storage", note=note)
    write_recording(target, package, given)
    words = f"{target}: {package.name}, {len(given)} inputs and two recorders\n{_NEXT}"
    answer(json, {"out": str(target), "inputs": sorted(given)}, lambda: out.print(words))


@commands.command(
    "calibrate",
    epilog="Examples: parity calibrate kit/capture-CPU_AND_NE.safetensors; parity calibrate "
    "kit/capture-CPU_AND_NE.safetensors --out my-m4.toml. Exit codes: 0 identified, 1 nothing "
    "explains it within rounding, 2 bad input.",
)
def calibrate(
    file: Annotated[
        Path, typer.Argument(metavar="CAPTURE", help="What a recorder of the kit wrote.")
    ],
    target: Annotated[
        Path | None,
        file_option(
            "If identified: the nearest device profile, with what was measured in it.", ".toml"
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Say which device profile a capture fits, what differs from it, and what stays open."""
    from harness import captures
    from harness.atomic import write_text
    from harness.captures.calibration import check_profile_name

    if target is not None:
        check_profile_name(target.stem)
    taken = captures.read_capture(file)
    found = captures.calibrate(taken, file)
    if target is not None and found.identified:
        write_text(target, captures.profile_toml(target.stem, found, taken))
    answer(json, _document(found, taken, target), lambda: _print(found, taken, target))
    if not found.identified:
        raise typer.Exit(1)


def _print(found: Calibration, taken: Capture, target: Path | None) -> None:
    out.print(", ".join(text for text in taken.origin.values() if text))
    rows = [(f.probe.name, f.words) for f in found.findings if f.differing]
    if rows:
        print_table("probes that differ", ("probe", "what differs"), rows)
    explained = sum(f.explained for f in found.findings)
    out.print(f"{explained} of {len(found.findings)} probes explained within rounding")
    if not found.identified:
        if explained < len(found.findings):
            out.print("not identified: no rules explain every probe")
        else:
            out.print("not identified: each probe is explained, but by no rules that suit them all")
        for name, suited in found.contradictions.items():
            words = [f"{_either((value,))} by {', '.join(p)}" for value, p in suited.items() if p]
            out.print(f"contradiction: {name} is {'; '.join(words)}")
        if target is not None:
            out.print(f"{target} was not written: no profile makes what was captured")
        return
    for match in found.matches:
        out.print(_words(match))
    for name in found.open:
        out.print(f"open: {name} may be {_either(found.rules[name])}, the capture is the same")
    if target is not None:
        out.print(
            f"{target}: profile with {len(found.rules) - len(found.open)} measured properties"
        )


def _words(match: Match) -> str:
    parts = [
        *(f"{name} is {_either(values)} instead" for name, values in match.against.items()),
        *(f"{name} is {_either(values)}" for name, values in match.unusual.items()),
    ]
    assumed = f"as assumed: {', '.join(match.confirmed) or 'nothing that was open'}"
    return f"identified: {match.profile.name}; {'; '.join([*parts, assumed])}"


def _either(values: tuple[Any, ...]) -> str:
    return " or ".join(f"{v:,g}" if isinstance(v, float) else str(v) for v in values)


def _document(found: Calibration, taken: Capture, target: Path | None) -> Mapping[str, Any]:
    def texts(rules: Mapping[str, tuple[Any, ...]]) -> dict[str, list[str]]:
        return {name: [str(value) for value in values] for name, values in rules.items()}

    return {
        "identified": found.identified,
        "origin": dict(taken.origin),
        "profiles": [
            {
                "name": m.profile.name,
                "against": texts(m.against),
                "unusual": texts(m.unusual),
                "confirmed": list(m.confirmed),
            }
            for m in found.matches
        ],
        "rules": texts(found.rules),
        "open": list(found.open),
        "contradictions": {
            name: {str(value): list(probes) for value, probes in suited.items()}
            for name, suited in found.contradictions.items()
        },
        "probes": [
            {"name": f.probe.name, "explained": f.explained, "differing": f.differing, "of": f.of}
            for f in found.findings
        ],
        "out": str(target) if target is not None and found.identified else "",
    }
