"""``parity export``: the program of a package as an ONNX model."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import Json, answer, decibels, note, out, print_table, progress
from harness.cli.outputs import file_option
from harness.cli.settings import Function, Package, TimeLimit

if TYPE_CHECKING:
    from harness.engines.agreement import Disagreement


commands = typer.Typer()


@commands.command(
    "export",
    epilog="Examples: parity export X.mlpackage --onnx X.onnx; "
    "parity export X.mlpackage --onnx X.onnx --inputs in.safetensors",
)
def export(
    package: Package,
    target: Annotated[Path, file_option("The .onnx file to write.", ".onnx", option="--onnx")],
    inputs: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|random:SEED",
            help="Inputs by name (.safetensors, .npz, a folder of .npy, or drawn): execute package "
            "and model on them, and name the operations about which they disagree beyond rounding.",
        ),
    ] = None,
    function: Function = None,
    json: Json = False,
    time_limit: TimeLimit = None,
) -> None:
    """Write the program of a package as an ONNX model, operation by operation.

    Values keep their names, and the roundings that the program declares are casts; docs/onnx.md
    says which operations can be written. With --inputs it exits with 1 where the two disagree.
    """
    from harness import mil
    from harness.onnx_export import OPSET, export_model, save_onnx
    from harness.workbench.given import given_inputs

    model = mil.load(package, function=function)
    given = None if inputs is None else given_inputs(inputs, model, note=note)
    exported = export_model(model)
    size = save_onnx(exported, target, model.metadata)
    found = None
    if given is not None:
        from harness.workbench.second_opinion import operations_apart

        with progress("comparing operations") as advance:
            found = operations_apart(model, exported, given, advance=advance)
    operators = Counter(node.op_type for node in exported.graph.nodes)
    document: dict[str, object] = {
        "onnx": str(target),
        "opset": OPSET,
        "size_bytes": size,
        "operations": len(model.operations),
        "nodes": dict(sorted(operators.items())),
    }
    if found is not None:
        document["disagreements"] = _rows(found)

    def show() -> None:
        out.print(
            f"{target}: {len(model.operations)} operations as {sum(operators.values())} nodes of "
            f"opset {OPSET}, {size / 1e6:.1f} MB"
        )
        if found is not None:
            _print_compared(found)

    answer(json, document, show)
    raise typer.Exit(1 if found else 0)


def _rows(found: list[Disagreement]) -> list[dict[str, object]]:
    return [
        {
            "operation": row.operation.name,
            "type": row.operation.type,
            "value": row.value,
            "snr_db": row.snr_db,
        }
        for row in found
    ]


def _print_compared(found: list[Disagreement]) -> None:
    levels = [None if math.isnan(row.snr_db) else row.snr_db for row in found]
    rows = [
        (row.operation.type, row.value, decibels(level))
        for row, level in zip(found, levels, strict=True)
    ]
    if rows:
        columns = ("operation", "value", "they agree to")
        print_table("beside the executor, on its own values", columns, rows, right=(2,))
    differ = "result differs" if len(rows) == 1 else "results differ"
    out.print(f"{len(rows)} {differ} beyond rounding")
