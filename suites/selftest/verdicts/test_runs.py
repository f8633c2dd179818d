"""A run must not be green unless everything that it set out to evaluate was, and held."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import RunError
from harness.verdicts import (
    LAYERS,
    Check,
    EngineState,
    GoldenState,
    Outcome,
    Profile,
    Run,
    Verdict,
    gate,
)
from harness.verdicts.rows.artefacts import Artefacts
from harness.verdicts.rows.signals import Quality, StemQuality
from harness.verdicts.tolerances import SUBJECT_LAYERS
from suites.selftest.report.run_rows import package_rows

ENGINES = tuple(EngineState(name, True, "here", executed=True) for name in ("torch", "mil"))


def check(layer: str, verdict: str = "pass", *, gating: bool = True, **labels: str) -> Check:
    outcome = Outcome(
        Verdict(verdict), "because", "e", "o", headroom_db=3.0, metrics={"snr_db": math.inf}
    )
    return Check(
        layer, {"case": "song", "subject": "mini"} | labels, gating, gate("conversion"), outcome
    )


@pytest.fixture
def green() -> Run:
    return Run(
        profile=Profile("parity", engines=("torch", "mil"), subjects=("mini",)),
        checks=tuple(check(layer) for layer in LAYERS),
        engines=ENGINES,
        goldens=(GoldenState("mini", "song", "match", ""),),
    )


def test_a_complete_run_is_green(green: Run) -> None:
    assert green.verdict is Verdict.PASS
    assert green.exit_code == 0


def test_one_failed_check_turns_it_red(green: Run) -> None:
    run = replace(green, checks=(*green.checks, check("surgery", "fail", case="noise")))
    assert run.exit_code == 1
    assert "surgery/conversion/mini/noise" in run.sentence()


def test_every_verdict_counts_what_was_not_looked_at_and_nothing_twice(green: Run) -> None:
    """A red headline left it out, and one check that was not evaluated was two missing things."""
    unseen = check("stft", "not_evaluated", case="noise")
    run = replace(green, checks=(*green.checks, unseen))
    words = "1 required thing was not looked at"
    assert run.sentence().startswith(f"NOT EVALUATED: {words} for mini")
    red = replace(run, checks=(*run.checks, check("stft", "fail", case="quiet")))
    assert red.sentence().startswith(f"FAIL: 1 of 7 gating checks failed for mini and {words}; ")
    rung = red.layers[LAYERS.index("stft")]
    assert rung.reason == "1 of 3 gating checks failed, 1 not evaluated"


def test_an_exploratory_failure_is_shown_and_changes_nothing(green: Run) -> None:
    extra = check("conversion", "fail", gating=False, recipe="fp16")
    run = replace(green, checks=(*green.checks, extra))
    assert run.verdict is Verdict.PASS
    assert run.layers[LAYERS.index("conversion")].exploratory == 1


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_without_a_gating_check_is_not_green(green: Run, layer: str) -> None:
    kept = [item for item in green.checks if item.layer != layer]
    run = replace(green, checks=(*kept, check(layer, gating=False)))
    assert run.exit_code == 3
    assert layer in run.sentence()


@pytest.mark.parametrize(
    "broken",
    [
        {"engines": ENGINES[:1]},
        {"engines": (ENGINES[0], replace(ENGINES[1], available=False, reason="no coremltools"))},
        {"engines": (ENGINES[0], replace(ENGINES[1], executed=False))},
        {"gaps": ("suites/x.py::test_y was skipped: no reason",)},
        {"goldens": (GoldenState("mini", "song", "missing", "was deleted"),)},
        {"goldens": (GoldenState("mini", "song", "stale", "other weights"),)},
        {"goldens": (GoldenState("mini", "song", "unrecorded", "no fingerprint"),)},
        {"goldens": (GoldenState("mini", "song", "a word nobody knows", "?"),)},
        {"checks": ()},
        {"checks": (), "profile": Profile("check", layers=())},
        {"profile": Profile("check", subjects=("mini",), cases={"mini": ("song", "quiet")})},
    ],
)
def test_what_was_not_looked_at_is_never_green(green: Run, broken: dict[str, Any]) -> None:
    run = replace(green, **broken)
    assert run.exit_code == 3
    assert run.sentence().startswith("NOT EVALUATED")


def heard(checked: Check, *, silent: bool) -> Check:
    outcome = replace(checked.outcome, metrics={"silent": silent})
    return replace(checked, outcome=outcome)


@pytest.mark.parametrize("layer", SUBJECT_LAYERS)
def test_silence_beside_silence_is_not_green(green: Run, layer: str) -> None:
    """A network that is dead on every input is right about none of them."""
    made = [heard(check(layer, tensor=name), silent=True) for name in ("freq", "time")]
    inner = heard(check(layer, tensor="tap encoder.0"), silent=False)
    others = [c for c in green.checks if c.layer != layer]
    run = replace(green, checks=(*others, *made, inner))
    assert run.exit_code == 3
    assert "give other inputs" in run.missing[0]
    loud = heard(check(layer, case="noise"), silent=False)
    assert replace(run, checks=(*run.checks, loud)).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "broken",
    [
        {"problems": ("a test process died",)},
        {"goldens": (GoldenState("mini", "song", "corrupt", "a byte differs"),)},
        {"goldens": (GoldenState("mini", "song", "drift", "1e-3 off"),)},
    ],
)
def test_what_is_broken_is_red(green: Run, broken: dict[str, Any]) -> None:
    run = replace(green, **broken)
    assert run.exit_code == 1
    assert next(iter(broken.values()))[0] is not None
    assert run.red


def test_two_checks_of_one_identity_are_red_because_one_would_hide_the_other(green: Run) -> None:
    run = replace(green, checks=(*green.checks, green.checks[0]))
    assert run.exit_code == 1
    assert "duplicate" in run.sentence()


def test_a_required_engine_is_required_only_on_request(green: Run) -> None:
    profile = replace(green.profile, engines=("torch", "mil", "coreml"))
    assert replace(green, profile=profile).exit_code == 3


def test_a_verdict_says_what_was_made_by_an_earlier_run(green: Run) -> None:
    made, taken = package_rows()[:2]
    rows = green.artefacts.plus((made, replace(taken, reused=True)))
    run = replace(green, artefacts=rows)
    assert "; an earlier run made 1 of 2 packages (--fresh makes all anew)." in run.sentence()
    assert Run.from_json(run.to_json()).sentence() == run.sentence()
    assert "earlier run" not in replace(green, artefacts=green.artefacts.plus([made])).sentence()


def test_a_run_survives_its_document(green: Run) -> None:
    score = StemQuality("bass", -math.inf, math.nan, 1.0, 2.0, 3.0, math.inf)
    row = Quality("mini", "song", "fp16", "mil", "storage", score, score)
    run = replace(green, artefacts=Artefacts(quality=(row,)))
    again = Run.from_json(run.to_json())
    assert again.checks == run.checks
    assert again.artefacts.quality[0].actual.si_sdr_db == -math.inf
    assert again.to_json() == run.to_json()


def test_the_document_is_strict_json(green: Run) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(green.to_json(), parse_constant=refuse)


def test_a_stored_verdict_is_not_trusted(green: Run) -> None:
    document = json.loads(green.to_json())
    document["checks"][0]["outcome"]["verdict"] = "fail"
    assert Run.from_json(json.dumps(document)).verdict is Verdict.FAIL


@pytest.mark.parametrize("cut", [0, 1, 100, 1000])
def test_a_truncated_document_is_refused(green: Run, cut: int) -> None:
    with pytest.raises(RunError):
        Run.from_json(green.to_json()[:cut])


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema_version": 99}', '{"schema_version": 1}'])
def test_what_is_no_run_is_refused(text: str) -> None:
    with pytest.raises(RunError):
        Run.from_json(text)


@pytest.mark.parametrize("layer", SUBJECT_LAYERS)
def test_each_subject_is_missed_in_each_layer_that_is_about_subjects(
    green: Run, layer: str
) -> None:
    """One subject's checks must not stand for another's."""
    second = tuple(check(name, subject="htdemucs") for name in SUBJECT_LAYERS)
    profile = replace(green.profile, subjects=("mini", "htdemucs"))
    run = replace(green, profile=profile, checks=(*green.checks, *second))
    assert run.verdict is Verdict.PASS
    without = [item for item in run.checks if item not in second or item.layer != layer]
    exploratory = check(layer, gating=False, subject="htdemucs")
    run = replace(run, checks=(*without, exploratory))
    assert run.exit_code == 3
    assert run.missing == (f"layer {layer}: no gating check was evaluated for htdemucs",)
