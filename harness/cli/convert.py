"""``parity convert`` and ``parity audit``: make a package, and read the precision of one."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import Json, answer, log, out, print_table
from harness.cli.core_ai import COREAI, to_coreai
from harness.cli.outputs import output_file
from harness.cli.settings import SUBJECT_HELP, Package, Settings
from harness.errors import PackageError, ParityError, RecipeError

if TYPE_CHECKING:
    from harness.conversion import Audit


commands = typer.Typer()


@commands.command(
    "convert",
    epilog="Examples: parity convert htdemucs_6s@seeded --precision fp32 --out 6s.mlpackage; "
    "parity convert mini --precision int8 --out mini.mlpackage; "
    "parity convert mini --target coreai --out mini.aimodel",
)
def convert(
    subject: Annotated[str, typer.Argument(help=SUBJECT_HELP)],
    target: Annotated[
        Path,
        typer.Option(
            "--out",
            callback=output_file(".mlpackage", ".aimodel", package=True),
            help="The .mlpackage or .aimodel to write.",
        ),
    ],
    precision: Annotated[str, typer.Option(help="Recipe: a name or a TOML file.")] = "fp32",
    deployment_target: Annotated[
        str,
        typer.Option(
            "--target", help="Deployment target, as coremltools names it; or coreai, for Core AI."
        ),
    ] = "iOS18",
    compute_units: Annotated[
        str, typer.Option(help="What the package is meant for; recorded in its metadata.")
    ] = "ALL",
    as_is: Annotated[
        bool,
        typer.Option("--as-is", help="For Core AI: leave long sums as the network has them."),
    ] = False,
    taps: Annotated[
        bool, typer.Option("--taps", help="For Core AI: show every block as an output tap.NAME.")
    ] = False,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Convert a subject (HTDemucs without its STFT) by a precision recipe, and audit the result."""
    from harness.conversion import convert_to_coreml, load_recipe, trace_inner_model
    from harness.conversion.convert import check_request
    from harness.subjects import load_subject
    from harness.subjects.names import with_settings

    subject = with_settings(subject, settings or ())
    if deployment_target == COREAI:
        if compute_units != "ALL":
            raise ParityError("Core AI records no --compute-units; leave it out")
        to_coreai(subject, target, precision, as_is=as_is, taps=taps, json=json)
        return
    if as_is or taps:
        raise ParityError("--as-is and --taps are for Core AI; they go with --target coreai")
    recipe = load_recipe(precision)
    if not recipe.is_for(subject):
        raise RecipeError(
            f"precision recipe {recipe.name!r} is for {', '.join(recipe.subjects)}: it names "
            f"operations, and those of {subject} have other names; tune one with 'parity tune'"
        )
    if target.suffix != ".mlpackage":
        raise PackageError(f"can't save a package as {target}: the name must end in .mlpackage")
    check_request(recipe, deployment_target, compute_units)
    log.print(f"loading {subject}")
    loaded = load_subject(subject)
    for note in loaded.notes:
        log.print(f"note: {note}")
    log.print("tracing")
    traced = trace_inner_model(loaded.extract())
    log.print(f"converting with precision recipe {recipe.name}")
    package = convert_to_coreml(
        traced,
        recipe=recipe,
        out=target,
        subject=loaded.name,
        fingerprint=loaded.fingerprint,
        target=deployment_target,
        compute_units=compute_units,
        command=shlex.join(["parity", *sys.argv[1:]]),
    )
    by_precision: Counter[str] = Counter()
    for found in package.precision_map.values():
        by_precision.update(found)
    inputs, outputs = dict(traced.interface.inputs), dict(traced.interface.outputs)
    geometry = loaded.network.geometry
    document = {
        "package": str(package.path),
        "subject": loaded.name,
        "sources": list(loaded.sources),
        "sample_rate": geometry.sample_rate if geometry else None,
        "warnings": list(loaded.warnings),
        "notes": list(loaded.notes),
        "recipe": recipe.name,
        "compute_units": compute_units,
        "target": deployment_target,
        "size_bytes": package.size_bytes,
        "seconds": round(package.seconds, 2),
        "inputs": {name: list(shape) for name, shape in inputs.items()},
        "outputs": {name: list(shape) for name, shape in outputs.items()},
        "operations_by_precision": dict(by_precision),
        "rules": [{"rule": str(count.rule), "matched": count.matched} for count in package.rules],
        "compressed_operations": package.audit.compressed,
        "taps_missing": dict(package.taps.missing),
        "audit": package.audit.verdict,
    }
    rows = [
        ("stems", ", ".join(loaded.sources) or "none"),
        *([("sample rate", f"{geometry.sample_rate} Hz")] if geometry else []),
        ("size", f"{package.size_bytes / 1e6:.1f} MB"),
        ("target, compute units", f"{deployment_target}, {compute_units}"),
        *((name, f"float32 {list(shape)}") for name, shape in (inputs | outputs).items()),
        *((f"operations in {name}", str(n)) for name, n in sorted(by_precision.items())),
        *((f"rule {count.rule}", f"{count.matched} operations") for count in package.rules),
        ("audit", f"{package.audit.verdict}: {package.audit.reason}"),
        ("time", f"{package.seconds:.1f} s"),
    ]
    answer(json, document, lambda: print_table(str(package.path), ("", "value"), rows))


@commands.command("audit", epilog="Example: parity audit 6s.mlpackage --precision mixed")
def audit(
    package: Package,
    precision: Annotated[
        str | None, typer.Option(help="Recipe to compare with; default: the recorded one.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare the precision of every operation in a package with a recipe."""
    from harness.conversion import audit_package, load_recipe, precision_map, read_sidecar
    from harness.verdicts import EXIT_CODES, Verdict

    if precision is not None:
        recipe = load_recipe(precision)
    else:
        sidecar = read_sidecar(package)
        if sidecar is None:
            _print_map(package, precision_map(package))
            out.print("This package records no recipe; name one with --precision for a verdict.")
            raise typer.Exit(EXIT_CODES[Verdict.NOT_EVALUATED])
        recipe = sidecar.recipe
    found = audit_package(package, recipe)
    document = {
        "package": str(package),
        "recipe": recipe.name,
        "verdict": found.verdict,
        "reason": found.reason,
        "precision_map": {k: dict(v) for k, v in found.precision_map.items()},
        "differences": [vars(difference) for difference in found.differences],
        "rules": [{"rule": str(c.rule), "matched": c.matched} for c in found.rules],
    }
    answer(json, document, lambda: _print_audit(package, found))
    raise typer.Exit(EXIT_CODES[Verdict(found.verdict)])


def _print_audit(package: Path, found: Audit) -> None:
    _print_map(package, found.precision_map)
    for count in found.rules:
        out.print(f"rule {count.rule}: {count.matched} operations")
    for difference in found.differences[:20]:
        out.print(str(difference))
    if len(found.differences) > 20:
        out.print(f"... and {len(found.differences) - 20} more (--json shows all)")
    out.print(f"{found.verdict.replace('_', ' ').upper()}: {found.reason}")


def _print_map(package: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    rows = [
        (kind, ", ".join(f"{n} {precision}" for precision, n in found.items()))
        for kind, found in counts.items()
    ]
    print_table(str(package), ("operation type", "declared precision"), rows)
