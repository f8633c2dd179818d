"""``parity doctor``: what can be evaluated here, and what can't."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from harness.cli.console import Json, answer, out, print_table

commands = typer.Typer()


@commands.command("doctor", epilog="Example: parity doctor --require coreml")
def doctor(
    require: Annotated[
        list[str] | None, typer.Option(help="An engine that must be able to execute (repeatable).")
    ] = None,
    json: Json = False,
) -> None:
    """Say which engines can execute here, with reasons, and which versions are installed."""
    from harness._coremltools import import_coremltools, import_messages
    from harness.origin import machine, versions
    from harness.profiles import DEFAULT, engine_states
    from harness.verdicts import Verdict

    import_coremltools()
    engines = engine_states()
    required = {*DEFAULT.engines, *(require or ())}
    missing = [
        engine.name for engine in engines if engine.name in required and not engine.available
    ]
    missing += sorted(required - {engine.name for engine in engines})
    document = {
        "verdict": (Verdict.NOT_EVALUATED if missing else Verdict.PASS).value,
        "missing": missing,
        "engines": [vars(engine) for engine in engines],
        "versions": versions(),
        "machine": machine(),
        "coremltools_says": list(import_messages()),
    }
    answer(json, document, lambda: _print(document, required))
    raise typer.Exit(3 if missing else 0)


def _print(document: Mapping[str, Any], required: Collection[str]) -> None:
    rows = [
        (
            engine["name"],
            "yes" if engine["name"] in required else "no",
            Text("can execute", "green") if engine["available"] else Text("can't", "yellow"),
            engine["version"] or "-",
            engine["reason"],
        )
        for engine in document["engines"]
    ]
    print_table("Engines", ("engine", "required", "here", "version", "why"), rows)
    for title in ("versions", "machine"):
        print_table(title.capitalize(), ("name", "value"), list(document[title].items()))
    missing = document["missing"]
    if missing:
        out.print(Text.assemble(("Can't be evaluated here:", "yellow"), f" {missing}"))
    else:
        out.print("Every required engine can execute here; a run judges all five layers.")
    for line in document["coremltools_says"]:
        out.print(Text(f"coremltools: {line}", "dim"))
