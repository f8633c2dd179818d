"""Devices on the command line: the option, and what is predicted on them as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.console import decibels, out, print_table

if TYPE_CHECKING:
    from harness.verdicts.rows.devices import DevicePrediction

Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        help="A device profile, such as ane-m1; repeat for several. See docs/devices.md.",
    ),
]


def ready_for(devices: Sequence[str] | None) -> None:
    """Refuse what is no device before anything takes time, and keep memory for those that are.

    Values on a device are hundreds of megabytes that live for one operation.

    Raises:
        ParityError: no such profile, property or variant.
    """
    from harness.allocation import keep_memory
    from harness.mil.numerics.device import device_of

    for name in devices or ():
        device_of(name)
    if devices:
        keep_memory()


def print_devices(rows: Sequence[DevicePrediction]) -> None:
    """Print for each device the SNR of each stem, its band, and what dominates it."""
    for row in rows:
        levels = [
            (
                level.name,
                decibels(level.assumed_db),
                f"{decibels(level.low_db)} to {decibels(level.high_db)}",
                decibels(level.captured_db),
            )
            for level in row.levels
        ]
        columns = ("stem", "predicted", "as unknowns are settled", "captured")
        shown = 4 if any(level.captured_db is not None for level in row.levels) else 3
        shown = 2 if row.placement else shown
        title = f"{row.numerics}, {row.case}: exploratory"
        print_table(title, columns[:shown], [level[:shown] for level in levels])
        if row.variants:
            ends = [(row.worst.assumed_db, row.numerics)]
            ends += [(one.worst_db, one.what) for one in row.variants]
            (low, least), (high, most) = min(ends), max(ends)
            words = f"{decibels(low)} as {least}, at most {decibels(high)} as {most}"
            out.print(f"the worst stem has at least {words}", soft_wrap=True)
        if row.better:
            gains = [(one.what, decibels(one.worst_db)) for one in row.better]
            print_table("what the worst stem would have", ("without errors of", "worst"), gains)
            out.print(f"what costs most: {row.dominant}")
        if row.note:
            out.print(row.note, soft_wrap=True)
        out.print(
            f"of the profile {row.count('measured')} claims are measured, {row.count('inferred')} "
            f"inferred, {row.count('unknown')} open"
        )
