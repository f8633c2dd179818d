"""``parity predict``: execute a package on tensors from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from harness.cli.console import Json, out, print_json, print_table
from harness.cli.tensors import read_tensors, write_tensors


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        "predict",
        epilog="Example: parity predict X.mlpackage --inputs in.safetensors --out out.safetensors "
        "--taps '*softmax*'",
    )(predict)


def predict(
    package: Annotated[
        Path,
        typer.Argument(metavar="X.mlpackage", help="Any ML Program: .mlpackage or .mlmodelc."),
    ],
    inputs: Annotated[Path, typer.Option(help="Inputs by name: .safetensors or .npz.")],
    target: Annotated[Path, typer.Option("--out", help="Outputs: .safetensors or .npz.")],
    numerics: Annotated[
        str, typer.Option(help="How the executor computes; see docs/numerics.md.")
    ] = "storage",
    taps: Annotated[
        list[str] | None,
        typer.Option(help="Intermediate values to keep: 'all', names or globs (repeatable)."),
    ] = None,
    function: Annotated[
        str | None, typer.Option(help="Which function of the program, if it has several.")
    ] = None,
    json: Json = False,
) -> None:
    """Execute a package, operation by operation, at the precision that it declares.

    States start from zero. A classifier's label and probabilities are printed, not written.
    """
    from harness import mil

    model = mil.load(package, function=function)
    wanted = "all" if taps == ["all"] else tuple(taps or ())
    state = model.new_state() if model.states else None
    given = read_tensors(inputs)
    made = model.predict(given, state=state, taps=wanted, numerics=numerics)
    outputs = {name: value for name, value in made.items() if isinstance(value, np.ndarray)}
    labels = {name: value for name, value in made.items() if name not in outputs}
    write_tensors(target, outputs)
    rows = [(name, str(list(value.shape)), str(value.dtype)) for name, value in outputs.items()]
    if json:
        values = [
            {"name": n, "shape": list(v.shape), "dtype": str(v.dtype)} for n, v in outputs.items()
        ]
        print_json({"out": str(target), "values": values, "labels": labels})
    else:
        print_table(str(target), ("name", "shape", "dtype"), rows)
        for name, value in labels.items():
            out.print(f"{name}: {value}")
        out.print(f"{len(model.operations)} operations, numerics {numerics}")
