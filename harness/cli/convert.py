"""``parity convert`` and ``parity audit``: make a package, and read the precision of one."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from harness.cli.console import Json, answer, log, note, out, print_table
from harness.cli.core_ai import COREAI, to_coreai
from harness.cli.outputs import file_option
from harness.cli.settings import SUBJECT_HELP, Package, Settings
from harness.errors import PackageError, ParityError, RecipeError

if TYPE_CHECKING:
    from harness.conversion import Audit
    from harness.conversion.recipes import RuleCount

_NO_RECIPE: Final = "this package records no recipe; name one with --precision for a verdict"

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
        file_option("The .mlpackage or .aimodel to write.", ".mlpackage", ".aimodel", package=True),
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
    for line in loaded.notes:
        note(line)
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
        "rules": _rules(package.rules),
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
        ("audit", f"{package.audit.verdict.replace('_', ' ')}: {package.audit.reason}"),
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

    sidecar = read_sidecar(package) if precision is None else None
    recipe = sidecar.recipe if sidecar else load_recipe(precision) if precision else None
    found = audit_package(package, recipe) if recipe else None
    document: dict[str, Any] = {
        "package": str(package),
        "recipe": recipe.name if recipe else None,
        "verdict": found.verdict if found else Verdict.NOT_EVALUATED.value,
        "reason": found.reason if found else _NO_RECIPE,
        "precision_map": {
            kind: dict(counts)
            for kind, counts in (found.precision_map if found else precision_map(package)).items()
        },
        "differences": [vars(difference) for difference in found.differences] if found else [],
        "rules": _rules(found.rules) if found else [],
    }
    answer(json, document, lambda: _print_audit(document, found))
    raise typer.Exit(EXIT_CODES[Verdict(document["verdict"])])


def _rules(counts: Sequence[RuleCount]) -> list[dict[str, Any]]:
    return [{"rule": str(count.rule), "matched": count.matched} for count in counts]


def _print_audit(document: Mapping[str, Any], found: Audit | None) -> None:
    rows = [
        (kind, ", ".join(f"{n} {precision}" for precision, n in counts.items()))
        for kind, counts in document["precision_map"].items()
    ]
    print_table(document["package"], ("operation type", "declared precision"), rows)
    for rule in document["rules"]:
        out.print(f"rule {rule['rule']}: {rule['matched']} operations")
    differences = found.differences if found else ()
    for difference in differences[:20]:
        out.print(str(difference))
    if len(differences) > 20:
        out.print(f"... and {len(differences) - 20} more (--json shows all)")
    out.print(f"{document['verdict'].replace('_', ' ').upper()}: {document['reason']}")
