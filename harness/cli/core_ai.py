"""Core AI: its part of ``convert`` and ``predict``, and ``coreai-operations``."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

import typer

from harness.cli.console import Json, answer, log, note, print_table
from harness.cli.settings import SUBJECT_HELP
from harness.errors import PackageError, UnknownNameError

COREAI: Final = "coreai"
"""As a deployment target: Core AI instead of Core ML."""


commands = typer.Typer()


@commands.command(
    "coreai-operations", epilog="Example: parity coreai-operations mini --inputs in.safetensors"
)
def operations(
    subject: Annotated[str, typer.Argument(help=SUBJECT_HELP)],
    inputs: Annotated[Path, typer.Option(help="Inputs by name: .safetensors or .npz.")],
    staged: Annotated[
        bool, typer.Option("--staged", help="With long sums in stages, as conversion writes them.")
    ] = False,
    json: Json = False,
) -> None:
    """Let Core AI's runtime compute each operation of a subject alone, on the values of PyTorch."""
    import torch

    from harness.coreai import compare_operations
    from harness.subjects import load_subject
    from harness.workbench.given import read_tensors

    inner = load_subject(subject).extract()
    given = read_tensors(inputs)
    missing = [name for name in inner.interface.inputs if name not in given]
    if missing:
        raise UnknownNameError(f"tensor of {inputs}", missing[0], given)
    tensors = {name: torch.from_numpy(given[name]) for name in inner.interface.inputs}
    found = compare_operations(inner, tensors, as_is=not staged, progress=log.print)
    document = {"subject": subject, "operations": [asdict(error) for error in found]}
    rows = [
        (
            error.operation,
            error.module or "-",
            str(list(error.shape)),
            str(error.calls),
            f"{error.runtime_db:.1f}",
            f"{error.torch_db:.1f}",
        )
        for error in found
    ]
    columns = ("operation", "first module", "operand", "calls", "Core AI dB", "PyTorch dB")
    title = "each operation alone, against float64"
    answer(json, document, lambda: print_table(title, columns, rows, right=range(3, 6)))


def to_coreai(
    subject: str, target: Path, precision: str, *, as_is: bool, taps: bool, json: bool
) -> None:
    """Convert a subject to an ``.aimodel``: ``parity convert --target coreai``."""
    from harness.coreai import convert_to_coreai
    from harness.coreai.asset import SUFFIX
    from harness.coreai.installed import require_coreai
    from harness.subjects import load_subject

    require_coreai()
    if target.suffix != SUFFIX:  # before anything that takes time
        raise PackageError(f"can't save an asset as {target}: the name must end in {SUFFIX}")
    loaded = load_subject(subject)
    for line in loaded.notes:
        note(line)
    inner = loaded.extract()
    log.print(f"converting to Core AI in {precision}")
    facts = {
        "subject": loaded.name,
        "fingerprint": loaded.fingerprint,
        "precision": precision,
        "long_sums": "as they are" if as_is else "in stages",
        "command": shlex.join(["parity", *sys.argv[1:]]),
    }
    shown = inner.interface.inner_taps if taps else ()
    made = convert_to_coreai(
        inner, target, precision=precision, as_is=as_is, taps=shown, facts=facts
    )
    document = asdict(made) | {"path": str(made.path), "outputs": list(made.outputs)} | facts
    rows = [
        ("size", f"{made.size_bytes / 1e6:.1f} MB"),
        ("operations", f"{made.operations:,}, all {precision}; long sums {facts['long_sums']}"),
        ("outputs", ", ".join(made.outputs)),
        ("time", f"{made.seconds:.1f} s"),
    ]
    answer(json, document, lambda: print_table(str(made.path), ("", "value"), rows))


def predict_coreai(
    package: Path, inputs: Path, target: Path, taps: Sequence[str], *, json: bool
) -> None:
    """Execute an ``.aimodel`` on tensors from a file: ``parity predict X.aimodel``.

    Tensors of the file that it doesn't take are left out: a golden holds its inputs and more.
    """
    from harness.cli.tensors import facts_of, print_facts, write_tensors
    from harness.coreai.asset import Asset, RuntimeLimits
    from harness.mil.timing import current_limit_s
    from harness.workbench.given import read_tensors

    given_s = current_limit_s()  # --time-limit
    limits = RuntimeLimits(seconds=given_s) if math.isfinite(given_s) else RuntimeLimits()
    asset = Asset(package, limits)
    globs = ["*"] if list(taps) == ["all"] else taps
    made = asset.execute(read_tensors(inputs), only_known=True)
    kept = {
        name: value
        for name, value in made.items()
        if not name.startswith("tap.") or any(fnmatchcase(name, glob) for glob in globs)
    }
    write_tensors(target, kept)
    document = {"out": str(target), "values": facts_of(kept)}
    answer(json, document, lambda: print_facts(target, kept))
