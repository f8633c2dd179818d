"""``parity adapt``: the layout of a package that another converter made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import Json, answer, decibels, out, print_table, progress
from harness.cli.outputs import file_option
from harness.cli.settings import SUBJECT_HELP, GoldenRoot, Numerics, Package, Settings, TimeLimit
from harness.places import GOLDEN_ROOT

if TYPE_CHECKING:
    from harness.adapters import Guess

commands = typer.Typer()


@commands.command(
    "adapt",
    epilog="Examples: parity adapt X.mlpackage --subject htdemucs@model.th; parity adapt "
    "X.mlpackage --subject htdemucs@model.th --inputs-out in.safetensors",
)
def adapt(
    package: Package,
    subject: Annotated[
        str, typer.Option(help=f"The model that it was converted from: {SUBJECT_HELP}")
    ],
    settings: Settings = None,
    target: Annotated[
        Path | None,
        file_option("The adapter (.toml); beside the package, where it is found.", ".toml"),
    ] = None,
    case: Annotated[str, typer.Option(help="A golden case of one segment.")] = "song",
    inputs_out: Annotated[
        Path | None,
        file_option(
            "Also write the case as the package takes it (.safetensors, .npz).",
            ".safetensors",
            ".npz",
            option="--inputs-out",
        ),
    ] = None,
    numerics: Numerics = "storage",
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
    time_limit: TimeLimit = None,
) -> None:
    """Find how a package's inputs and outputs map to the model contract, and write it down.

    Candidates come from the shapes; each is run beside PyTorch, and the numbers choose. An adapter
    that is there already is confirmed, and stays as it is. 'check' and 'separate' find it beside
    the package; with --inputs-out the lab takes the package with --inputs.
    """
    from harness.adapters import read_adapter, write_adapter
    from harness.adapters.files import adapter_path
    from harness.cli.tensors import write_tensors
    from harness.subjects.names import with_settings
    from harness.workbench.adapting import find_layout

    path = target or adapter_path(package)
    known = read_adapter(path) if path.exists() else None
    with progress("trying layouts") as advance:
        found, given = find_layout(
            package,
            with_settings(subject, settings or []),
            golden_root,
            case=case,
            known=known,
            numerics=numerics,
            advance=advance,
        )
    if known is None:
        write_adapter(path, found.adapter)
    if inputs_out is not None:
        write_tensors(inputs_out, given)
    document = {
        "adapter": str(path),
        "written": known is None,
        "words": list(found.adapter.words()),
        "snr_db": dict(found.snr_db),
        "tried": found.tried,
        "inputs": None if inputs_out is None else str(inputs_out),
    }
    answer(json, document, lambda: _print(path, known is None, found))


def _print(path: Path, written: bool, found: Guess) -> None:
    adapter = found.adapter
    levels = [""] * len(adapter.inputs) + [decibels(found.snr_db[name]) for name in adapter.outputs]
    rows = list(zip(adapter.words(), levels, strict=True))
    print_table("what the package takes and gives", ("", "beside PyTorch"), rows, right=(1,))
    done = "written" if written else "confirmed"
    tried = f"{found.tried} layout{'' if found.tried == 1 else 's'} tried"
    out.print(f"{path} {done}: {tried}, worst {decibels(found.worst_db)}")
