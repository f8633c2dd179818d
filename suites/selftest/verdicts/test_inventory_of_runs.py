"""What a run looked at is held against a list that no collection of tests can shorten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import RunError
from harness.verdicts import (
    LAYERS,
    Check,
    FaultOutcome,
    InjectedFault,
    Outcome,
    Profile,
    Run,
    Verdict,
    gate,
    not_evaluated,
)
from harness.verdicts.completeness import Completeness
from harness.verdicts.inventory import (
    differences,
    inventory_of,
    inventory_text,
    read_inventory,
)

STEMS = ("drums", "bass", "other", "vocals")
TAPS = ("encoder.0", "decoder.0", "freq_emb")
PASSED = Outcome(Verdict.PASS, "within", "e", "o", headroom_db=3.0)


def check(layer: str, gate_name: str, *, gating: bool = True, **labels: str) -> Check:
    return Check(layer, labels, gating, gate(gate_name), PASSED)


def of(case: str, recipe: str) -> list[Check]:
    """What a suite makes of one case in one recipe: each stem, each tap, and two branches."""
    where = {"subject": "mini", "case": case, "recipe": recipe}
    found = [check("end_to_end", "end_to_end", stem=stem, **where) for stem in STEMS]
    found += [check("conversion", "conversion", tensor=f"tap {tap}", **where) for tap in TAPS]
    found += [check("conversion", "conversion", tensor=name, **where) for name in ("freq", "time")]
    # Of the worst stem alone: it does not grow with the stems.
    drawn = {"what": "the stem that is drawn", "stem": "bass"}
    return [*found, check("end_to_end", "separation", gating=False, **drawn, **where)]


CHECKS = (
    *(check("ops", "ops_exact", case=f"add-{n}", tensor="output 0") for n in range(5)),
    *(check("stft", "stft", case=kind, what="round trip") for kind in ("sine", "noise")),
    *(
        item
        for case in ("song", "noise")
        for recipe in ("fp32", "fp16")
        for item in of(case, recipe)
    ),
)
FAULTS = tuple(
    InjectedFault(name, name.partition(".")[0], "b", "s", "e", FaultOutcome.CAUGHT)
    for name in ("stems.order", "stft.window", "weights.bias")
)
INVENTORY = inventory_of(CHECKS, FAULTS)
TEXT = inventory_text(INVENTORY)


def lines(checks: tuple[Check, ...]) -> list[str]:
    found = Completeness(INVENTORY, checks, FAULTS)
    return [line for layer in LAYERS for line in found.shortfalls(layer)]


def test_checks_are_counted_by_where_they_are_and_what_they_are_about() -> None:
    counts = {
        (row.layer, row.case, row.recipe, row.kind): (row.gating, row.exploratory)
        for row in INVENTORY.checks
    }
    assert counts["conversion", "song", "fp16", "conversion"] == (5, 0)
    assert counts["end_to_end", "song", "fp16", "end_to_end"] == (4, 0)
    assert counts["end_to_end", "song", "fp16", "separation"] == (0, 1)
    assert counts["ops", "", "", "ops_exact"] == (5, 0)
    assert counts["stft", "", "", "round trip"] == (2, 0)


def test_the_document_keeps_everything_and_says_each_count_on_a_line(tmp_path: Path) -> None:
    file = tmp_path / "inventory.json"
    file.write_text(TEXT, "utf-8")
    assert read_inventory(file) == INVENTORY
    assert json.loads(TEXT)["schema_version"] == 2
    rows = [line for line in TEXT.splitlines() if line.startswith('{"layer": ')]
    assert len(rows) == len(INVENTORY.checks)


def test_all_checks_of_the_inventory_are_enough() -> None:
    assert lines(CHECKS) == []
    assert Completeness(INVENTORY, CHECKS, FAULTS).gating() == (43, 43)


@given(st.sets(st.sampled_from(range(len(CHECKS))), min_size=1))
def test_whatever_is_left_out_is_missed(left_out: set[int]) -> None:
    kept = tuple(check for place, check in enumerate(CHECKS) if place not in left_out)
    assert lines(kept)
    lost = sum(CHECKS[place].gating for place in left_out)
    assert Completeness(INVENTORY, kept, FAULTS).gating() == (43 - lost, 43)


@given(st.sampled_from(range(len(CHECKS))), st.integers(1, 3))
def test_no_other_check_stands_in_for_one(place: int, times: int) -> None:
    """Neither one that is made twice, nor new ones elsewhere, nor one that was not evaluated."""
    lost = CHECKS[place]
    kept = tuple(check for check in CHECKS if check is not lost)
    extra = {"case": "new", "subject": "mini"}
    new = check(lost.layer, "audit", **extra, what="x")
    untold = replace(lost, outcome=not_evaluated("no engine"))
    assert lines((*kept, *kept[:1] * times, new, untold))


def test_a_line_names_the_layer_the_subject_and_where() -> None:
    kept = tuple(c for c in CHECKS if not (c.layer == "conversion" and c.labels["case"] == "song"))
    assert lines(kept) == [
        "layer conversion: 10 of 20 expected gating checks of mini were made: "
        "0 of 5 conversion on song in fp16, 0 of 5 conversion on song in fp32"
    ]
    no_stft = tuple(c for c in CHECKS if c.layer != "stft")
    assert lines(no_stft) == ["layer stft: 0 of 2 expected gating checks were made"]


def test_lines_stay_few_and_short_when_everything_is_gone() -> None:
    assert len(lines(())) == 5  # a layer and a subject each; figures apart
    assert all(len(line) < 500 for line in lines(()))


def test_a_fault_that_was_left_out_is_named() -> None:
    found = Completeness(INVENTORY, CHECKS, FAULTS[1:])
    assert found.faults() == ("faults: 1 of 3 expected faults were not injected: stems.order",)


def test_a_run_that_is_short_of_a_layer_is_not_green_in_the_ladder_either() -> None:
    kept = tuple(c for c in CHECKS if c.labels.get("tensor") != "tap freq_emb")
    profile = Profile("x", layers=(), engines=(), subjects=("mini",), faults=True)
    run = Run(profile, kept, faults=FAULTS, expected=INVENTORY)
    rung = run.layers[LAYERS.index("conversion")]
    assert (rung.required, rung.verdict) == (True, Verdict.NOT_EVALUATED)
    assert rung.reason == "16 of 20 expected gating checks were made"
    assert run.exit_code == 3
    assert run.coverage == "incomplete: 39 of 43 expected gating checks"
    assert Run.from_json(run.to_json()) == run


def test_a_red_run_says_what_is_missing_too() -> None:
    failed = replace(CHECKS[0], outcome=replace(PASSED, verdict=Verdict.FAIL))
    profile = Profile("x", layers=(), engines=(), subjects=("mini",))
    run = Run(profile, (failed, *CHECKS[2:]), expected=INVENTORY)
    assert run.exit_code == 1
    assert any(line.startswith("layer ops: 4 of 5") for line in run.missing)


def test_two_inventories_differ_by_what_came_and_went() -> None:
    kept = tuple(c for c in CHECKS if c.labels.get("stem") != "drums")
    now = inventory_of(kept, FAULTS[1:])
    assert differences(INVENTORY, INVENTORY) == ()
    found = differences(INVENTORY, now)
    assert "end_to_end/mini/noise/fp16/end_to_end: 4 gating, now 3" in found
    assert found[-1] == "fault stems.order: no longer injected"
    assert len(found) == 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "breaks off or is malformed"),
        ('{"schema_version": 9}', "schema version 9"),
        ('{"schema_version": 2, "checks": [], "faults": []}', "no gating check"),
        (TEXT.replace('"gating": 5', '"gating": "all"'), "expected a whole number"),
        (TEXT.replace('"gating": 5', '"gating": -5'), "expected 0 or more"),
        (TEXT.replace('"recipe"', '"recipes"'), "unknown key"),
    ],
)
def test_an_inventory_that_is_none_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "inventory.json"
    file.write_text(text, "utf-8")
    with pytest.raises(RunError, match=reason) as caught:
        read_inventory(file)
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 500
