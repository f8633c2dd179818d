"""A document that has everything a report draws, in small, and odd things in its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, Final

from harness.verdicts import FaultOutcome, InjectedFault, Run, Waiver
from harness.verdicts.rows.artefacts import KIND_OF, Artefacts
from harness.verdicts.rows.documents import attachment
from suites.selftest.report.conftest import break_checks, build_run
from suites.selftest.report.figure_rows import BENCH, figure_rows, series

_SOUNDS: Final = ("reference", "candidate", "difference")
Place = tuple[str | int, ...]

NUMBERS: Final = (
    1e308, -1e308, 5e-324, 0, -0.0, -1, -1e-300, 1e22, 10**18, -(10**18), 0.5, 2**63, True,
)  # fmt: skip
TEXTS: Final = (
    "", "\ud800", "x\udfff", "nan", "inf", "-inf", "NaN", "-1", "\0", "a/b\nc", "a" * 5000,
    "<script>alert(1)</script>", "2026-13-45T99:99:99+00:00", "\u202e", "{{ 7 * 7 }}",
)  # fmt: skip
OTHERS: Final = (None, [], {}, [[]], {"a": 1}, "x", 1, 1.5, True, [None], [1e308, -1e308])


def thin_run() -> Run:
    """Return a run with few checks, some of them bad, and every kind of row, fault and waiver."""
    run = break_checks(build_run())
    kept = [check for check in run.checks if check.gating and check.verdict.value != "pass"]
    kept += run.checks[::150]
    few = {f.name: getattr(run.artefacts, f.name)[:1] for f in fields(Artefacts)}
    rows = Artefacts(**few).plus({KIND_OF[type(row)]: row for row in figure_rows()}.values())
    (taps,) = rows.taps
    rows = replace(
        rows,
        operations=(series("fp16", 2),),
        taps=(replace(taps, operations=taps.operations[::60]),),
        audio_clip=tuple(replace(c, **dict.fromkeys(_SOUNDS, "AAAA")) for c in rows.audio_clip),
    ).plus([attachment("bench before", {**BENCH, "started": "2025"})])
    fault = InjectedFault(
        "stft.window", "stft", "a symmetric window", "seen", "stft", FaultOutcome.CAUGHT,
        "stft/stft/a", ("stft/stft",), "SNR 12 dB", -3.5, "the window differs", 1.5,
    )  # fmt: skip
    failed = next(check for check in kept if check.outcome.headroom_db is not None)
    waiver = Waiver(failed.id, "known", "2025-11-01", "2025-12-01", -1e9)
    faults = (fault, replace(fault, name="stft.hop", outcome=FaultOutcome.MISSED, headroom_db=None))
    return replace(
        run,
        checks=tuple({id(check): check for check in kept}.values()),
        artefacts=rows,
        faults=faults,
        waivers=(waiver,),
    )


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """Yield the path to everything in JSON data, the whole of it last."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))
    yield path


def shapes(value: Any) -> dict[Place, list[Place]]:
    """Return the places of JSON data, those that differ in list positions alone together.

    So a rare field is as likely to be drawn as one that a thousand rows have.
    """
    found: dict[Place, list[Place]] = {}
    for path in places(value):
        if path:
            shape = tuple("*" if isinstance(step, int) else step for step in path)
            found.setdefault(shape, []).append(path)
    return found
