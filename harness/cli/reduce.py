"""``parity reduce``: the smallest program that still fails, to attach to a bug report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.atomic.products import REDUCTION
from harness.cli.console import Json, answer, log, note, out, print_table, progress
from harness.cli.outputs import folder_option
from harness.cli.settings import Function, GoldenRoot, Numerics, Owner, TimeLimit, number_option
from harness.errors import ParityError
from harness.places import GOLDEN_ROOT

if TYPE_CHECKING:
    import numpy as np

    from harness.reduction import Attempt, Oracle

EPILOG = (
    "Examples: parity reduce X.mlpackage --inputs in.safetensors --fails-when nan --out bug/; "
    "parity reduce X.mlpackage --inputs in.safetensors --fails-when 'snr<60' --reference float64 "
    "--out bug/; parity reduce classifier --case loud --fails-when 'snr<60' --out bug/; "
    "parity reduce X.mlpackage --inputs in.safetensors --out bug/ --command "
    "'python on_mac.py {package} {inputs}'. Exit codes: 0 reduced, 2 nothing to reduce or bad "
    "input; with --verify 0 does not fail, 1 fails."
)


commands = typer.Typer()


@commands.command("reduce", epilog=EPILOG)
def reduce(
    words: Annotated[
        str,
        typer.Argument(
            metavar="S|X.mlpackage", help="A package, or a subject, which is converted."
        ),
    ],
    inputs: Annotated[
        str | None,
        typer.Option(
            "--inputs",
            metavar="FILE|random:SEED",
            help="For a package: its inputs by name, .safetensors, .npz or a folder of .npy; or "
            "drawn from a seed.",
        ),
    ] = None,
    subject: Owner = None,
    case: Annotated[
        str | None, typer.Option(help="Of a subject: a golden case, or song:SEED. Default: song.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of a subject: the recipe to convert it by. Default: fp16.")
    ] = None,
    target: Annotated[
        Path | None,
        folder_option("Gets reduced.mlpackage, inputs.safetensors and README.md.", kind=REDUCTION),
    ] = None,
    fails_when: Annotated[
        str | None,
        typer.Option(
            metavar="nan|inf|nonfinite|error|snr<DB",
            help="Some operation makes a NaN or Inf; the executor raises an error; an output's SNR "
            "against the reference is too low.",
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            help="Instead: it fails when this command does not exit with 0. The command is yours: "
            "it is run as you are, once for each try, without a shell, with the places {package} "
            "and {inputs} filled in."
        ),
    ] = None,
    numerics: Numerics = "storage",
    reference: Annotated[
        str | None,
        typer.Option(help="For snr: the same program in this numerics; float64 by default."),
    ] = None,
    expected: Annotated[
        Path | None,
        typer.Option(help="For snr: expected outputs and, to cut there, inner values by name."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="For snr: a second package with the same names in it, which is right."),
    ] = None,
    function: Function = None,
    max_tries: Annotated[int, typer.Option(min=1, help="Try so many parts at most.")] = 500,
    timeout_s: Annotated[
        float,
        number_option("Seconds; a --command that takes longer passes.", "--timeout", min=0.1),
    ] = 600.0,
    verify: Annotated[
        bool, typer.Option("--verify", help="Reduce nothing: say whether it fails.")
    ] = False,
    golden_root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
    time_limit: TimeLimit = None,
) -> None:
    """Cut a failing program down to the smallest package and inputs that still fail.

    What is left is loaded from disk again, and must fail again, before it is called a reduction.
    """
    from harness.reduction import Command, check_expected, parse_condition
    from harness.workbench.reducing import whole_program

    if (fails_when is None) == (command is None):
        raise ParityError("say what failing is: give --fails-when or --command, one of them")
    if (target is None) != verify:
        raise ParityError("give --out for the reduction, or --verify to reduce nothing")
    log.print(f"opening {words}")
    with whole_program(
        words,
        golden_root=golden_root,
        case=case,
        given=inputs,
        subject=subject,
        recipe=precision,
        function=function,
        numerics=numerics,
        note=note,
    ) as attempt:
        right = _reference(reference, expected, against, attempt)
        if not isinstance(right, str):
            check_expected(right, attempt, expected or against)
        oracle: Oracle
        if command is not None:
            oracle = Command(command, timeout_s, numerics)
        else:
            oracle = parse_condition(str(fails_when), numerics=numerics, reference=right)
        if target is None:
            _verify(attempt, oracle, json=json)
        else:
            _reduce(attempt, oracle, target, max_tries, json=json)


def _reference(
    reference: str | None, expected: Path | None, against: Path | None, attempt: Attempt
) -> str | Mapping[str, np.ndarray]:
    import numpy as np

    from harness import mil
    from harness.mil.features import converted
    from harness.workbench.given import read_tensors

    if sum(given is not None for given in (reference, expected, against)) > 1:
        raise ParityError("give one of --reference, --expected and --against")
    if expected is not None:
        return read_tensors(expected)
    if against is None:
        return mil.get_numerics(reference or "float64").name
    other = mil.load(against)
    if other.states and not attempt.model.states:  # they are inputs of a case
        other = mil.functional(other)
    names = set(other.tap_names("all")) & set(attempt.model.tap_names("all"))
    state = other.new_state() if other.states else None
    given, _ = converted(attempt.inputs, other.inputs, mil.get_numerics("storage"))
    made = other.predict(given, state=state, taps=sorted(names))
    return {name: value for name, value in made.items() if isinstance(value, np.ndarray)}


def _verify(attempt: Attempt, oracle: Oracle, *, json: bool) -> None:
    evidence = oracle.judge(attempt)
    fails = evidence is not None
    said = f"fails: {evidence}" if fails else f"does not fail (failing is: {oracle.words})"
    document = {"fails": fails, "evidence": evidence or ""}
    answer(json, document, lambda: out.print(said))
    raise typer.Exit(1 if fails else 0)


def _reduce(attempt: Attempt, oracle: Oracle, target: Path, max_tries: int, *, json: bool) -> None:
    from harness.reduction import reduce, write_reduction

    log.print(f"reducing {len(attempt.model.operations)} operations")
    with progress("tries") as advance:
        found = reduce(attempt, oracle, max_tries=max_tries, advance=advance)
    record = write_reduction(found, target)
    answer(json, {"out": str(target)} | record, lambda: _print(record, target))


def _print(record: Mapping[str, Any], target: Path) -> None:
    rows = [(row["type"], row["name"], row["results"]) for row in record["operations"]]
    kept, total = len(rows), record["operations_in_whole"]
    print_table(f"{kept} of {total} operations", ("type", "name", "results"), rows)
    out.print(f"fails: {record['evidence']}")
    if not record["minimal"]:
        log.print("the tries ran out: --max-tries may make it smaller")
    out.print(f"written to {target}, read back and judged again: {target / 'README.md'}")
