"""A run as large as that of the default profile: 3,424 checks, two subjects, six recipes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from harness.verdicts import (
    GATES,
    Check,
    EngineState,
    FaultOutcome,
    GoldenState,
    InjectedFault,
    Outcome,
    Profile,
    Reading,
    Record,
    Run,
    Snapshot,
    Verdict,
    not_evaluated,
)
from harness.verdicts.rows.artefacts import Artefacts
from suites.selftest.report.conftest import PROVENANCE, check, compared
from suites.selftest.report.figure_rows import SUBJECT as LARGE
from suites.selftest.report.figure_rows import figure_rows, series
from suites.selftest.report.run_rows import (
    CASES,
    STEMS,
    outline_row,
    package_rows,
    quality_row,
    score_rows,
    separation_rows,
)

MINI = "mini"
SUBJECTS = {MINI: (*CASES, "song_waltz", "song_rests"), LARGE: ("noise", "quiet", "hot", "song")}
RECIPES = {
    MINI: ("fp32", "mini_60db", "mini_elementwise", "fp16", "mixed"),
    LARGE: ("fp32", "htdemucs_6s_60db", "fp16", "mixed"),
}
EXPLORATORY = ("fp16", "mixed")
LEVEL_DB = {"fp32": 124.0, "fp16": 44.0, "mixed": 45.0}
SIZE = 3_424
WORST = (61.3, "drums", "sine", "mini_60db")
"""SNR of the stem that comes closest to its gate, and whose it is."""


def _stems(noise: random.Random) -> Iterator[Check]:
    for subject, recipe, case in _places():
        for stem in STEMS:
            for extra in ({}, {"channel": "left"}, {"channel": "right"}, {"what": "worst second"}):
                snr = LEVEL_DB.get(recipe, 62.0) + 8 * noise.random()
                if (stem, case, recipe) == WORST[1:] and "what" in extra:
                    snr = WORST[0]
                outcome = compared(GATES["end_to_end"], snr, silent=case == "silence")
                labels = {"subject": subject, "case": case, "recipe": recipe, "engine": "mil"}
                gating = recipe not in EXPLORATORY
                yield check(
                    "end_to_end", "end_to_end", outcome, gating, stem=stem, **labels, **extra
                )


def _places() -> Iterator[tuple[str, str, str]]:
    for subject, cases in SUBJECTS.items():
        for recipe in RECIPES[subject]:
            for case in cases:
                yield subject, recipe, case


def _conversion(noise: random.Random) -> Iterator[Check]:
    kept = Outcome(Verdict.PASS, "", "", "0 differences", 20.0, None, {"value": 0.0})
    for subject, recipes in RECIPES.items():
        for recipe in recipes:
            for gate in ("contract", "audit", "weights"):
                yield check("conversion", gate, kept, subject=subject, recipe=recipe, what=gate)
    for subject, recipe, case in _places():
        for tensor in ("freq", "time"):
            snr = LEVEL_DB.get(recipe, 66.0) + noise.random()
            outcome = compared(GATES["conversion"], snr, 0.1 if recipe not in EXPLORATORY else 9.0)
            labels = {"subject": subject, "case": case, "recipe": recipe, "tensor": tensor}
            yield check("conversion", "conversion", outcome, recipe not in EXPLORATORY, **labels)


def _checks() -> tuple[Check, ...]:
    noise = random.Random(2)
    found = [*_stems(noise), *_conversion(noise)]
    for layer, gate, count in (("stft", "stft", 82), ("surgery", "surgery", 376)):
        for place in range(count):
            outcome = compared(GATES[gate], 140.0, 0.3 * noise.random() + 0.01)
            subject = "" if layer == "stft" else (MINI, LARGE)[place % 2]
            found.append(check(layer, gate, outcome, subject=subject, tensor=f"tap {place}"))
    for place in range(SIZE - len(found)):
        outcome = compared(GATES["ops_fp32"], 140.0, 0.4 * noise.random() + 0.01)
        found.append(check("ops", "ops_fp32", outcome, subject="", tensor=f"operation {place}"))
    return tuple(found)


def _rows() -> Artefacts:
    packages = {row.recipe: row for row in package_rows()}
    found: list[Any] = [outline_row(), *figure_rows()]
    for subject, recipes in RECIPES.items():
        for recipe in recipes:
            like = recipe if recipe in packages else "mixed"
            gating = recipe not in EXPLORATORY
            found.append(replace(packages[like], subject=subject, recipe=recipe, gating=gating))
            found.append(replace(series(like), subject=subject, recipe=recipe))
            found += [
                replace(row, subject=subject, recipe=recipe)
                for row in separation_rows()
                if row.recipe == like
            ]
            found += [
                replace(quality_row(stem, "song", recipe, 9.0, 9.001), subject=subject)
                for stem in STEMS
            ]
            found += [
                replace(row, subject=subject, recipe=recipe)
                for row in score_rows()
                if row.recipe == like
            ]
    return Artefacts().plus(found)


def whole_run() -> Run:
    """Return a run of the default profile that passes."""
    recipes = tuple(dict.fromkeys(name for names in RECIPES.values() for name in names))
    faults = tuple(
        InjectedFault(
            f"level{place % 11}.bug{place}", f"level {place % 11}", "A bug.", "seen", "end_to_end",
            FaultOutcome.CAUGHT, caught_by="end_to_end/x", reason="SNR 1 dB", headroom_db=-59.0,
        )
        for place in range(36)
    )  # fmt: skip
    return Run(
        profile=Profile("parity", subjects=tuple(SUBJECTS), recipes=recipes, faults=True),
        checks=_checks(),
        engines=(
            EngineState("torch", True, "", "2.13.0", executed=True),
            EngineState("mil", True, "", "0.1.0", executed=True, emulates=True),
            EngineState("coreml", False, "needs macOS, this is Linux", "9.0"),
        ),
        goldens=tuple(
            GoldenState(subject, case, "match", "equal", "ab12" * 16)
            for subject, cases in SUBJECTS.items()
            for case in cases
        ),
        faults=faults,
        artefacts=_rows(),
        provenance=PROVENANCE,
        started="2025-11-21T04:12:09Z",
        duration_s=597.8,
    )


def broken(run: Run) -> Run:
    """Return the same with a failing recipe, a gap, an operation that fails, and an escaped bug."""
    checks = list(run.checks)
    where = [
        place
        for place, item in enumerate(checks)
        if item.labels.get("recipe") == "mini_60db" and item.labels.get("stem") == "vocals"
    ]
    for place in where[:12]:
        checks[place] = replace(checks[place], outcome=compared(GATES["end_to_end"], 48.7))
    gap = not_evaluated("the golden of this case is missing; run: parity golden build")
    checks[where[20]] = replace(checks[where[20]], outcome=gap)
    checks[-1] = replace(checks[-1], outcome=compared(GATES["ops_fp32"], 20.0, 74.2))
    escaped = replace(run.faults[0], outcome=FaultOutcome.MISSED, reason="stayed green")
    return replace(run, checks=tuple(checks), faults=(escaped, *run.faults[1:]))


def record(run: Run) -> Record:
    """Return a baseline against which one check lost 3 dB, and a few earlier runs."""
    snapshot = Snapshot.of(run)
    name = min(snapshot.readings, key=lambda name: _headroom_db(snapshot.readings[name]))
    moved = replace(snapshot.readings[name], headroom_db=4.3)
    before = replace(
        snapshot, readings={**snapshot.readings, name: moved}, started="2025-11-01T00:00:00+00:00"
    )
    return Record(before, "the first release", (before,) * 3)


def _headroom_db(reading: Reading) -> float:
    known = reading.gating and reading.headroom_db is not None
    return reading.headroom_db if known and reading.headroom_db else 1e9
