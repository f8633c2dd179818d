"""``parity predict``: execute a package on tensors from a file, and look at what happens inside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.console import Json, answer, note, out, print_table
from harness.cli.core_ai import predict_coreai
from harness.cli.outputs import check_room, file_option
from harness.cli.settings import Function, GivenInputs, Numerics, TimeLimit
from harness.errors import ParityError

if TYPE_CHECKING:
    from harness.mil import Inspection, Model, ValueStatistics


commands = typer.Typer()


@commands.command(
    "predict",
    epilog="Example: parity predict X.mlpackage --inputs in.safetensors --out out.safetensors "
    "--taps '*softmax*'; parity predict X.mlpackage --inputs in.safetensors --stats",
)
def predict(
    package: Annotated[
        Path,
        typer.Argument(
            metavar="X.mlpackage",
            help="Any ML Program: .mlpackage or .mlmodelc. Or an .aimodel, for Core AI's runtime.",
        ),
    ],
    inputs: GivenInputs,
    target: Annotated[
        Path | None, file_option("Outputs: .safetensors or .npz.", ".safetensors", ".npz")
    ] = None,
    numerics: Numerics = "storage",
    taps: Annotated[
        list[str] | None,
        typer.Option(help="Intermediate values to keep: 'all', names or globs (repeatable)."),
    ] = None,
    function: Function = None,
    stats: Annotated[
        bool,
        typer.Option(
            help="Range, NaN, Inf, overflow, subnormals and lost integers of all values, or --taps."
        ),
    ] = False,
    json: Json = False,
    time_limit: TimeLimit = None,
) -> None:
    """Execute a package, operation by operation, at the precision that it declares.

    Inputs of another element type are converted as Core ML does, with a note where that changed a
    value. States start from zero. A classifier's label and probabilities are printed, not written.
    """
    import numpy as np

    from harness import mil
    from harness.allocation import keep_memory
    from harness.cli.tensors import facts_of, print_facts, write_tensors
    from harness.mil.program import walk
    from harness.workbench.given import given_inputs

    if target is None and not stats:
        raise ParityError("nothing to do: give --out to write the outputs, --stats to look inside")
    if package.suffix == ".aimodel":
        if stats or function or target is None or numerics != "storage":
            raise ParityError(
                f"{package} is executed by Core AI's runtime, which knows no --numerics, --stats "
                "or --function; give --out, and --taps 'tap.*' for its blocks"
            )
        predict_coreai(package, Path(inputs), target, taps or (), json=json)
        return
    if numerics != "storage":  # which plans its memory
        keep_memory()
    model = mil.load(package, function=function)
    wanted = "all" if taps == ["all"] else tuple(taps or ())
    kept = wanted if target is not None else ()
    state = model.new_state() if model.states else None
    given = given_inputs(inputs, model, numerics=numerics, note=note)
    if target is not None:
        check_room(target, model.returned_bytes(kept))
    watch = mil.Watch(model, numerics, taps=kept) if stats else None
    made = model.predict(
        given,
        state=state,
        taps=kept,
        numerics=numerics,
        operation_numerics=watch.numerics_of if watch else None,
        observe=watch.observe if watch else None,
    )
    outputs = {name: value for name, value in made.items() if isinstance(value, np.ndarray)}
    labels = {name: value for name, value in made.items() if name not in outputs}
    if target is not None:
        write_tensors(target, outputs)
    found = watch.result() if watch else None
    shown = _shown(model, wanted, found)
    everything = sum(operation.type != "const" for operation in walk(model.plan.function.block))
    document = {"out": str(target or ""), "values": facts_of(outputs), "labels": labels}
    if found is not None:
        document["stats"] = _statistics(found, shown)

    def show() -> None:
        if target is not None:
            print_facts(target, outputs)
        if found is not None:
            _print_statistics(found, shown)
        for name, value in labels.items():
            out.print(f"{name}: {value}")
        out.print(f"{everything} operations, numerics {numerics}")

    answer(json, document, show)


def _shown(model: Model, wanted: Sequence[str] | str, found: Inspection | None) -> set[str]:
    """Return the names of the values to show: those inside branches and loops if all are wanted."""
    shown = set(model.tap_names(wanted or "all"))
    if found is not None and wanted in ("all", ()):
        shown.update(value.name for value in found.values)
    return shown


def _statistics(found: Inspection, shown: set[str]) -> dict[str, Any]:
    statistics = found.to_dict()
    return statistics | {"values": [row for row in statistics["values"] if row["name"] in shown]}


def _print_statistics(found: Inspection, shown: set[str]) -> None:
    rows = [
        (
            value.name,
            value.type,
            value.dtype,
            f"{value.minimum:.4g}",
            f"{value.maximum:.4g}",
            f"{value.rms:.4g}",
            _number(value.not_finite),
            _number(value.beyond_fp16),
            f"{100 * value.subnormal_share:.3g} %" if value.subnormal else "",
            _number(value.lost),
        )
        for value in found.values
        if value.name in shown
    ]
    columns = (
        "value",
        "operation",
        "declared",
        "min",
        "max",
        "rms",
        "NaN/Inf",
        "> 65,504",
        "subnormal in FP16",
        "integers lost",
    )
    print_table("as computed, before they are stored", columns, rows, right=range(3, 10))
    out.print(_first_words(found.first_not_finite))
    for value in found.values:
        if value.lost:
            out.print(lost_words(value))
    out.print(
        f"peak memory {found.peak_bytes / 1e6:.1f} MB of values (after {found.peak_at}) and "
        f"{found.constants_bytes / 1e6:.1f} MB of constants",
    )


def _first_words(first: ValueStatistics | None) -> str:
    if first is None:
        return "no NaN and no Inf anywhere"
    return (
        f"first NaN or Inf: {first.not_finite} of {first.count} elements of {first.name!r}, made "
        f"by {first.type} {first.operation!r} (largest magnitude before rounding {first.peak:.4g})"
    )


def lost_words(value: ValueStatistics) -> str:
    """Say which operation stored integers as other numbers, how many, and of which range."""
    return (
        f"{value.lost:,} of {value.count:,} integers lost in {value.name!r}, made by {value.type} "
        f"{value.operation!r}: {value.minimum:.9g} to {value.maximum:.9g} stored as {value.dtype}"
    )


def _number(count: int) -> str:
    return f"{count:,}" if count else ""
