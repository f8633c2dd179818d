"""``parity store``: what a shared store holds, and the removal of what nobody needs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import Json, answer, out, progress
from harness.cli.settings import number_option

if TYPE_CHECKING:
    from harness.store import Collected

commands = typer.Typer(
    name="store",
    help="Goldens, packages and results that machines share: show, gc.",
    no_args_is_help=True,
    epilog="Example: parity store show s3://bucket/parity",
)
Url = Annotated[
    str, typer.Argument(metavar="URL", help="A folder, s3://BUCKET/PATH or a URL of fsspec.")
]


@commands.command(epilog="Example: parity store show s3://bucket/parity")
def show(url: Url, json: Json = False) -> None:
    """Say how much a store holds of each kind."""
    from harness.store import holdings, open_store

    found = holdings(open_store(url))
    document = {"names": dict(found.names), "objects": found.objects, "bytes": found.bytes}
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.names.items())
    words = f"{url}: {kinds}; {found.objects} objects, {found.bytes / 1e6:.1f} MB"
    answer(json, document, lambda: out.print(words))


@commands.command(
    epilog="Examples: parity store gc s3://bucket/parity --older-than 30 --dry-run; "
    "parity store gc s3://bucket/parity --verify"
)
def gc(
    url: Url,
    older_than: Annotated[
        float | None,
        number_option("Also forget what was kept before so many days.", min=0, metavar="DAYS"),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every object; remove those that are damaged.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, say what.")] = False,
    json: Json = False,
) -> None:
    """Remove objects that nothing leads to, and with options what is old or damaged.

    What was written within the last hour stays: its writer may not have named it yet.
    """
    from harness.store import collect, open_store

    age = None if older_than is None else timedelta(days=older_than)
    with progress("reading objects") as advance:
        found = collect(
            open_store(url), older_than=age, verify=verify, dry=dry_run, advance=advance
        )
    document = {
        "dry_run": dry_run,
        "names": list(found.names),
        "objects": list(found.objects),
        "bytes": found.bytes,
        "damaged": list(found.damaged),
    }
    answer(json, document, lambda: _print(found, dry_run))


def _print(found: Collected, dry_run: bool) -> None:
    for path in found.damaged:
        out.print(f"damaged: {path}")
    verb = "would remove" if dry_run else "removed"
    out.print(
        f"{verb} {len(found.names)} names and {len(found.objects)} objects "
        f"({found.bytes / 1e6:.1f} MB)"
    )
