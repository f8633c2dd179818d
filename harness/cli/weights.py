"""``parity weights``: tensors by name, between conventions, through transforms, out of packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.console import Json, answer, out, print_table, progress
from harness.cli.outputs import file_option
from harness.cli.settings import SUBJECT_HELP
from harness.errors import UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.weights import Complaint, Step, StepReport

commands = typer.Typer(
    name="weights",
    help="Tensors by name: between conventions, through transforms, and out of packages.",
    no_args_is_help=True,
)

_SHOWN = 20

Source = Annotated[
    str, typer.Argument(metavar="WEIGHTS", help=f"A checkpoint file, or a subject: {SUBJECT_HELP}")
]
Target = Annotated[Path, file_option("A .safetensors file, which is replaced.", ".safetensors")]
Names = Annotated[
    str | None, typer.Option("--to", help="Names as demucs has them, or as the Swift/Metal port.")
]


@commands.command(
    "map",
    epilog="Examples: parity weights map mini --to metal --out mini-metal.safetensors; "
    "parity weights map mini-metal.safetensors --to demucs --out mini.safetensors; "
    "parity weights map model.th --rules port.toml --out port.safetensors. Rules are in "
    "docs/weights.md.",
)
def map_weights(
    source: Source,
    target: Target,
    to: Names = None,
    rules: Annotated[
        Path | None, typer.Option(help="A TOML file of transforms, applied after --to.")
    ] = None,
    json: Json = False,
) -> None:
    """Rename and transform tensors, and say what matched.

    Which convention the names have is told from them. Tensors that no rule fits keep their names,
    and a step that matches nothing is said.
    """
    from harness.weights import apply_steps, convention_of, read_steps, read_weights
    from harness.weights import write_weights as write

    steps = _convention(to) + (read_steps(rules) if rules else ())
    if not steps:
        raise typer.BadParameter("give --to, --rules or both: there is nothing to be done")
    with progress("reading"):
        state, notes = read_weights(source)
    found = convention_of(state)
    made, reports = apply_steps(state, steps)
    write(target, made, {"from": source, "names": convention_of(made) or "unknown"})
    kept = [name for name in state if name in made]
    document = {
        "weights": str(target),
        "convention": found,
        "tensors": len(made),
        "kept_names": kept,
        "steps": [vars(report) for report in reports],
        "notes": list(notes),
    }
    answer(json, document, lambda: _print_map(document, reports))


def _convention(to: str | None) -> tuple[Step, ...]:
    from harness.weights import CONVENTIONS, Step

    if to is None:
        return ()
    if to not in CONVENTIONS:
        raise UnknownNameError("convention", to, CONVENTIONS)
    return (Step("names", to, {}),)


def _print_map(document: Mapping[str, Any], reports: Sequence[StepReport]) -> None:
    rows = [
        (report.step, len(report.matched), report.before, report.after, _some(report.matched))
        for report in reports
    ]
    columns = ("step", "matched", "before", "after", "first of them")
    print_table("Transforms", columns, rows, right=(1, 2, 3))
    out.print(f"names as found: {document['convention'] or 'of no known convention'}")
    _print_notes(document["notes"], reports)
    kept = document["kept_names"]
    stay = "name stays as it is" if len(kept) == 1 else "names stay as they are"
    out.print(f"{len(kept)} {stay}{': ' + _some(kept) if kept else ''}")
    out.print(f"{document['weights']}: {document['tensors']} tensors")


@commands.command(
    "check",
    epilog="Examples: parity weights check mini-metal.safetensors --subject mini; "
    "parity weights check model.th. Exit codes: 0 sound, 1 an error, 2 bad input.",
)
def check(
    source: Source,
    subject: Annotated[
        str | None, typer.Option(help="Hold names and shapes against this network.")
    ] = None,
    json: Json = False,
) -> None:
    """Look for NaN, infinities, magnitudes, shapes, and types that some loaders misread.

    With --subject, names may be of either convention.
    """
    from harness.weights import apply_steps, check_weights, convention_of, read_weights

    with progress("checking"):
        state, notes = read_weights(source)
        convention = convention_of(state)
        named = state
        if subject is not None and convention == "metal":
            named, _ = apply_steps(state, _convention("demucs"))
        complaints = check_weights(named, _shapes(subject) if subject else None)
    errors = [complaint for complaint in complaints if complaint.level == "error"]
    document = {
        "verdict": "fail" if errors else "pass",
        "convention": convention,
        "tensors": len(state),
        "complaints": [vars(complaint) for complaint in complaints],
        "notes": list(notes),
    }
    answer(json, document, lambda: _print_check(state, complaints, document))
    raise typer.Exit(1 if errors else 0)


def _shapes(subject: str) -> dict[str, Sequence[int]]:
    from harness.weights import model_like

    state = model_like(subject)[1].state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _print_check(
    state: Mapping[str, Tensor], complaints: Sequence[Complaint], document: Mapping[str, Any]
) -> None:
    rows = [(row.level, row.tensor, row.what) for row in complaints[:_SHOWN]]
    if rows:
        print_table("Complaints", ("level", "tensor", "what"), rows)
    if len(complaints) > _SHOWN:
        out.print(f"and {len(complaints) - _SHOWN} more")
    _print_notes(document["notes"])
    known = {str(tensor.dtype).removeprefix("torch.") for tensor in state.values()}
    types = ", ".join(sorted(known))
    errors = sum(row.level == "error" for row in complaints)
    words = f"{len(state)} tensors ({types}), names: {document['convention'] or 'unknown'}"
    verdict = document["verdict"].upper()
    out.print(f"{verdict}: {errors} errors, {len(complaints) - errors} warnings in {words}.")


@commands.command(
    "extract",
    epilog="Examples: parity weights extract X.mlpackage --out constants.safetensors; "
    "parity weights extract X.mlpackage --subject mini --out mini.safetensors; "
    "parity weights extract X.mlmodelc --only '*conv*' --out convs.safetensors",
)
def extract_weights(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help=".mlpackage or .mlmodelc.")],
    target: Target,
    subject: Annotated[
        str | None, typer.Option(help="Give the names and shapes of this network's checkpoint.")
    ] = None,
    to: Names = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Names to extract (repeatable).")
    ] = None,
    json: Json = False,
) -> None:
    """Write the tensors of a package as safetensors, as they are stored, without Core ML.

    Without --subject they have the program's own names.
    """
    from harness.weights import Step, apply_steps, extract
    from harness.weights import write_weights as write

    with progress("extracting"):
        found = extract(package, subject)
    steps = _convention(to) + ((Step("select", only, {}),) if only else ())
    made, reports = apply_steps(found.tensors, steps)
    write(target, made, {"from": str(package)})
    document = {
        "weights": str(target),
        "tensors": len(made),
        "missing": list(found.missing),
        "notes": list(found.notes),
        "steps": [vars(report) for report in reports],
    }
    left = f"; {len(found.missing)} left out: {_some(found.missing)}" if found.missing else ""

    def show() -> None:
        _print_notes(found.notes, reports)
        out.print(f"{target}: {len(made)} tensors of {package}{left}", soft_wrap=True)

    answer(json, document, show)


def _print_notes(notes: Sequence[str], reports: Sequence[StepReport] = ()) -> None:
    idle = [f"{report.step} matched nothing" for report in reports if not report.matched]
    for note in (*notes, *idle):
        out.print(f"note: {note}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
