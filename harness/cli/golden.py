"""``parity golden``: build, verify and show the expected tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.console import Json, answer, out, print_table, progress
from harness.cli.settings import GoldenRoot, StoreUrl
from harness.errors import ParityError, UnknownNameError
from harness.places import GOLDEN_ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from harness.golden import Finding, GoldenStore
    from harness.golden.store import Holding
    from harness.subjects import Subject

commands = typer.Typer(
    name="golden",
    help="Build, verify and show the expected tensors.",
    no_args_is_help=True,
    epilog="Example: parity golden build --subject htdemucs@seeded --case song",
)

Subjects = Annotated[list[str] | None, typer.Option("--subject", help="Subject (repeatable).")]
Cases = Annotated[list[str] | None, typer.Option("--case", help="Case (repeatable; default: all).")]


@commands.command()
def build(
    subject: Subjects = None,
    case: Cases = None,
    new: Annotated[
        bool, typer.Option("--new", help="Only what was never built here; touch nothing else.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Build again what is sound, too.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Commit the fingerprints to manifest.json.")
    ] = False,
    store: StoreUrl = None,
    root: GoldenRoot = GOLDEN_ROOT,
    json: Json = False,
) -> None:
    """Run the subject in PyTorch on every case, and store what it computes."""
    from harness.allocation import keep_memory
    from harness.golden import GoldenStatus, GoldenStore

    if new and force:
        raise ParityError("give --new or --force, not both")
    keep_memory()
    builder = None
    if store is not None:
        from harness.store import open_store
        from harness.workbench.stored import StoredGoldens

        builder = StoredGoldens(open_store(store))
    goldens: GoldenStore[Subject] = GoldenStore(_home(subject, root), builder)
    findings = []
    with progress("building goldens") as advance:
        for loaded, case_name in _asked(goldens, subject, case, advance):
            before = goldens.status(loaded, case_name, deep=False)
            if new and before.status is not GoldenStatus.NOT_BUILT:
                continue  # the run will say what it finds; healing it here would hide it
            findings.append(goldens.build(loaded, case_name, force=force, record=record))
    # Building is done when the tensors can be used; whether anything vouches for them is another
    # question, which `verify` and every run ask.
    _finish(findings, json, fine=tuple(f for f in findings if f.usable))


@commands.command()
def verify(
    subject: Subjects = None, case: Cases = None, root: GoldenRoot = GOLDEN_ROOT, json: Json = False
) -> None:
    """Say of each golden: match, drift, missing, stale, corrupt or not built."""
    from harness.golden import GoldenStore
    from harness.verdicts import GREEN_GOLDENS

    store: GoldenStore[Subject] = GoldenStore(_home(subject, root))
    with progress("verifying goldens") as advance:
        findings = [store.verify(*golden) for golden in _asked(store, subject, case, advance)]
    _finish(findings, json, fine=tuple(f for f in findings if f.run_status in GREEN_GOLDENS))


@commands.command()
def show(root: GoldenRoot = GOLDEN_ROOT, json: Json = False) -> None:
    """List the cases, and every golden that was built here or is committed."""
    from harness.golden import GoldenStore

    store: GoldenStore[Subject] = GoldenStore(root)
    holdings = store.show()
    cases = {name: case.why for name, case in store.cases.items()}
    document = {"cases": cases, "goldens": [_plain(holding.finding) for holding in holdings]}
    answer(json, document, lambda: _print_holdings(cases, holdings))


def _print_holdings(cases: Mapping[str, str], holdings: Sequence[Holding]) -> None:
    print_table("Cases", ("case", "why"), list(cases.items()))
    rows = [
        (
            holding.subject,
            holding.case,
            holding.finding.status.value,
            "yes" if holding.built else "no",
            "yes" if holding.committed else "no",
        )
        for holding in holdings
    ]
    print_table("Goldens", ("subject", "case", "status", "built here", "committed"), rows)


def _asked(
    store: GoldenStore[Subject],
    subjects: list[str] | None,
    cases: list[str] | None,
    advance: Callable[[int, int], None],
) -> Iterator[tuple[Subject, str]]:
    """Yield the subject and the case of each golden that is asked for, and say how far it is."""
    from harness.profiles import chosen_profile, work_of
    from harness.subjects import load_subject

    for name in cases or ():
        if name not in store.cases:
            raise UnknownNameError("case", name, store.cases)
    work = work_of(chosen_profile(subjects=subjects or (), cases=cases or ()), store.cases)
    load = lru_cache(maxsize=1)(load_subject)
    for done, (subject, case) in enumerate(work):
        advance(done, len(work))
        yield load(subject), case
    advance(len(work), len(work))


def _home(subjects: list[str] | None, root: Path) -> Path:
    """Return the golden root of the subjects that are named, which is one.

    Raises:
        ParityError: a declared network, whose goldens lie beside its file, and another subject.
    """
    from harness.profiles import home_of

    homes = {home_of(name, root) for name in subjects or ()} or {root}
    if len(homes) > 1:
        raise ParityError(
            f"the goldens of {', '.join(subjects or ())} lie in several places; ask for one subject"
        )
    return homes.pop()


def _finish(findings: list[Finding], json: bool, *, fine: tuple[Finding, ...]) -> None:
    """Print the findings; leave with 0 (all fine), 1 (one is corrupt or drifted) or 3."""
    from harness.verdicts import RED_GOLDENS

    red = any(finding.status.value in RED_GOLDENS for finding in findings)
    code = 1 if red else 3 if len(fine) < len(findings) else 0
    document = {"exit_code": code, "goldens": [_plain(finding) for finding in findings]}
    answer(json, document, lambda: _print_findings(findings, len(fine)))
    raise typer.Exit(code)


def _print_findings(findings: list[Finding], fine: int) -> None:
    if not findings:  # of --new
        out.print("Nothing to build: every golden was built before.")
        return
    rows = [
        (f.subject, f.case, f.run_status, "; ".join(filter(None, (f.reason, f.next_step))))
        for f in findings
    ]
    print_table("Goldens", ("subject", "case", "status", "why"), rows)
    out.print(f"{fine} of {len(findings)} goldens are fine.")


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "subject": finding.subject,
        "case": finding.case,
        "status": finding.status.value,
        "message": finding.message,
    }
