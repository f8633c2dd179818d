"""``parity lint``: what is wrong with a package, read from it without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import Json, answer, out, print_table
from harness.errors import ParityError

if TYPE_CHECKING:
    from harness.lint import LintFinding, LintRule

EPILOG = (
    "Examples: parity lint X.mlpackage; parity lint X.mlpackage --ignore epsilon_subnormal; "
    "parity lint X.mlmodelc --rule pad_of_other_axes --rule rank_above_five --json; parity lint "
    "--list. Exit codes: 0 no errors, 1 an error was found, 2 bad input. Warnings alone are 0."
)
_SHOWN = 5


commands = typer.Typer()


@commands.command("lint", epilog=EPILOG)
def lint(
    package: Annotated[
        Path | None,
        typer.Argument(metavar="X.mlpackage", help="Any ML Program: .mlpackage or .mlmodelc."),
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option("--rule", help="Apply this rule only (repeatable).")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="Leave this rule out (repeatable).")
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Say which rules there are, and what each says.")
    ] = False,
    json: Json = False,
) -> None:
    """Name what Core ML will refuse or compute wrongly, without running anything.

    It reads constants (infinite ones, epsilons that vanish in FP16), casts, the declared set of
    operations, and what Core ML is known to refuse or to get wrong. Each rule has its source.
    """
    from harness.conversion import read_sidecar
    from harness.lint import Severity, lint_package, select_rules
    from harness.mil.package import open_package

    chosen = select_rules(rule or (), ignore or ())
    if listing:
        _list(chosen, json=json)
        return
    if package is None:
        raise ParityError("nothing to look at: name a package, or give --list for the rules")
    opened = open_package(package)
    sidecar = read_sidecar(opened)
    findings = lint_package(opened, rules=chosen, modules=sidecar.modules if sidecar else {})
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    document = {
        "package": str(package),
        "rules": [item.name for item in chosen],
        "errors": errors,
        "warnings": len(findings) - errors,
        "findings": [finding.to_dict() for finding in findings],
    }
    answer(json, document, lambda: _print(package, findings, errors, len(chosen)))
    raise typer.Exit(1 if errors else 0)


def _list(rules: Sequence[LintRule], *, json: bool) -> None:
    fields = ("name", "severity", "wrong", "source", "next_step")
    document = {"rules": [{name: str(getattr(rule, name)) for name in fields} for rule in rules]}
    rows = [(rule.name, rule.severity, rule.wrong, rule.source) for rule in rules]
    columns = ("rule", "severity", "what is wrong", "source")
    answer(json, document, lambda: print_table(f"{len(rules)} rules", columns, rows))


def _print(package: Path, findings: Sequence[LintFinding], errors: int, rules: int) -> None:
    by_rule: dict[str, list[LintFinding]] = {}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    for name, found in by_rule.items():
        first = found[0]
        out.print(f"{first.severity} {name}: {len(found)} found", style="bold")
        for finding in found[:_SHOWN]:
            out.print(f"   {finding}")
        if len(found) > _SHOWN:
            out.print(f"   and {len(found) - _SHOWN} more; --json has them all")
        out.print(f"   next: {first.next_step}")
        out.print(f"   source: {first.source}")
    warned = len(findings) - errors
    out.print(f"{package}: {errors} errors, {warned} warnings by {rules} rules")
