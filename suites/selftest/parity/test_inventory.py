"""The committed inventory, and what it asks of narrowed runs and of subjects of one's own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.cli import main
from harness.conversion import load_recipe
from harness.faults import select_faults
from harness.golden import load_cases
from harness.places import GOLDEN_ROOT, INVENTORY
from harness.profiles import DEFAULT, work_of
from harness.report import write_report
from harness.subjects import ARCHITECTURES, describe_subject
from harness.verdicts import (
    LAYERS,
    Baseline,
    Check,
    EngineState,
    FaultOutcome,
    InjectedFault,
    Outcome,
    Run,
    Verdict,
    gate,
)
from harness.verdicts.completeness import Expectation
from harness.verdicts.inventory import inventory_of, read_inventory
from harness.verdicts.tolerances import SUBJECT_LAYERS
from harness.workbench.expectation import expectation, required_rows

ROOT = Path(__file__).parents[3]
SMALL, FULL_SIZE = DEFAULT.subjects
LISTED = read_inventory(ROOT / INVENTORY)
KNOWN = load_cases(ROOT / GOLDEN_ROOT / "recipes.toml")


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[str], str]:
    """Somebody's trained weights of a published architecture, by its name: the numbers are nil."""

    def save(architecture: str) -> str:
        file = tmp_path / f"{architecture}.safetensors"
        if not file.exists():
            empty = describe_subject(f"{architecture}@seeded").empty_model()
            shapes = {name: tensor.shape for name, tensor in empty.state_dict().items()}
            state = {n: torch.zeros(shape, dtype=torch.float16) for n, shape in shapes.items()}
            save_file(state, file)
        known = ARCHITECTURES[architecture]
        left_open = {
            "segment": "39/5",
            "samplerate": "44100",
            "t_heads": known.arguments.get("t_heads", 8),
            "sources": ",".join(known.sources),
        }
        options = "&".join(f"{name}={value}" for name, value in left_open.items())
        return f"{architecture}@{file}?{options}"

    return save


def expected(**narrowed: list[str]) -> Expectation:
    return expectation(LISTED, KNOWN, **narrowed)


def gating(found: Expectation) -> Counter[str]:
    totals: Counter[str] = Counter()
    for row in found.checks:
        totals[row.layer] += row.gating if row.subject else 0
    return +totals


def test_the_inventory_is_of_the_run_that_is_the_baseline() -> None:
    """Whoever accepts one and not the other is told, and a list that was cut by hand shows."""
    readings = Baseline.read(ROOT / "reports" / "baseline.json").snapshot.readings
    counted = Counter((name.split("/")[0], row.gating) for name, row in readings.items())
    listed: Counter[tuple[str, bool]] = Counter()
    for row in LISTED.checks:
        listed[row.layer, True] += row.gating
        listed[row.layer, False] += row.exploratory
    assert +listed == counted, (
        "accept both of one run: parity inventory accept reports/latest/run.json, and "
        "parity baseline accept reports/latest/run.json --reason ..."
    )


def test_the_inventory_lists_what_the_profile_and_the_faults_promise() -> None:
    assert set(LISTED.faults) == {fault.name for fault in select_faults(sample=True)}
    listed = {(row.subject, row.case) for row in LISTED.checks if row.case}
    assert listed == set(work_of(DEFAULT, KNOWN))
    assert {row.recipe for row in LISTED.checks} - {""} == set(DEFAULT.recipes)
    for layer in SUBJECT_LAYERS:
        assert {r.subject for r in LISTED.checks if r.layer == layer} == set(DEFAULT.subjects)


def test_a_run_that_is_not_narrowed_must_have_everything() -> None:
    found = expected()
    assert set(found.checks) == set(LISTED.checks)
    assert found.narrowed == ()
    assert expected(subjects=list(DEFAULT.subjects)).narrowed == ()


def test_a_case_that_is_no_longer_made_is_still_expected() -> None:
    """The list of golden cases is code, too: a case that is deleted there must be missed."""
    known = {name: case for name, case in KNOWN.items() if name != "chirp"}
    assert expectation(LISTED, known) == expected()


def test_a_narrowed_run_must_have_what_it_was_narrowed_to() -> None:
    found = expected(subjects=[SMALL], cases=["song"], recipes=["fp32"])
    assert found.narrowed == (f"subject {SMALL}", "case song", "recipe fp32")
    cells = {(row.subject, row.case, row.recipe) for row in found.checks if row.subject}
    own = {("", ""), ("song", ""), ("", "fp32"), ("song", "fp32")}
    assert cells <= {(SMALL, *pair) for pair in own}
    assert {row.layer for row in found.checks} == set(LAYERS)
    assert found.faults == LISTED.faults


def test_a_case_leaves_a_default_subject_out_that_does_not_have_it() -> None:
    assert {row.subject for row in expected(cases=["silence"]).checks} == {"", SMALL}


def test_figures_that_need_a_case_are_not_asked_for_without_it() -> None:
    """The headroom of the loudest operation is measured where there is music, and about no case."""
    rows = [row for row in expected(cases=["sine"]).checks if row.kind == "headroom"]
    assert [row.exploratory for row in rows] == [0]


def test_a_stranger_of_a_listed_architecture_must_have_as_much_as_it(
    weights: Callable[[str], str],
) -> None:
    """The model of what is not listed, against what is: no number of it is known to the model."""
    cases = list(DEFAULT.cases[FULL_SIZE])
    stranger = expected(subjects=[f"{FULL_SIZE}:7"], cases=cases)
    listed = expected(subjects=[FULL_SIZE])
    assert gating(stranger) == gating(listed)
    assert gating(stranger)["surgery"] > 100
    own = expected(subjects=[weights("mini")], recipes=["fp32", "fp16"])
    assert gating(own) == gating(expected(subjects=[SMALL], recipes=["fp32", "fp16"]))


def test_a_stranger_is_judged_by_its_own_stems_and_blocks(weights: Callable[[str], str]) -> None:
    """Four stems in place of six: each is judged whole, by channel and in its worst second."""
    four = expected(subjects=[weights("htdemucs")], cases=["song"], recipes=["fp32"])
    six = expected(subjects=[weights("htdemucs_6s")], cases=["song"], recipes=["fp32"])
    stems, taps = (gating(six)[name] - gating(four)[name] for name in ("end_to_end", "surgery"))
    assert stems == 2 * (4 + 1)  # and its quality
    assert taps == 2 * (31 - 35)  # the wider bottleneck of htdemucs has four more blocks
    assert all(not row.exploratory for row in four.checks if row.subject)


def test_seeded_weights_have_no_quality_to_keep(weights: Callable[[str], str]) -> None:
    kinds = {
        seeded: {row.kind for row in expected(subjects=[name], cases=["song"]).checks if row.gating}
        for seeded, name in ((True, "htdemucs@seeded"), (False, weights("htdemucs")))
    }
    assert kinds[False] - kinds[True] == {"quality"}


def test_a_case_of_ones_own_is_judged_as_the_listed_one_that_is_like_it() -> None:
    mine = replace(KNOWN["song_waltz"], name="mine")
    found = expectation(LISTED, {**KNOWN, "mine": mine}, subjects=[SMALL], cases=["mine"])
    assert gating(found) == gating(expected(subjects=[SMALL], cases=["song_waltz"]))
    strange = replace(KNOWN["dc"], name="mine", taps=True)
    found = expectation(LISTED, {"mine": strange}, subjects=[SMALL], cases=["mine"])
    kinds = {row.kind: row.gating for row in found.checks if row.recipe == "fp32" and row.case}
    assert kinds["expected_precision_fp32"] == 2 + 35  # the taps of no listed case of its kind


def test_the_count_of_what_the_layers_ask_is_what_the_inventory_lists() -> None:
    """Two lists of one thing, made apart: a run that was accepted, and the rules of the layers."""
    rules = [load_recipe(name) for name in DEFAULT.recipes]
    for subject in DEFAULT.subjects:
        listed = [row for row in LISTED.checks if row.subject == subject and row.gating]
        cases = [KNOWN[name] for name in dict.fromkeys(row.case for row in listed) if name]
        fitting = {recipe.name: recipe for recipe in rules if recipe.is_for(subject)}
        required = required_rows(describe_subject(subject), cases, fitting)
        assert {(row.place, row.kind): row.gating for row in required} == {
            (row.place, row.kind): row.gating for row in listed
        }


def test_a_recipe_is_judged_as_the_listed_one_that_claims_the_same(
    weights: Callable[[str], str],
) -> None:
    """An exploratory one is as fp16; one that claims the stems alone is as mini_60db."""
    for recipe, like in (("norms_fp32", "fp16"), ("htdemucs_6s_60db", "mini_60db")):
        words = {"cases": ["song"], "subjects": [weights("htdemucs_6s")]}
        found = expected(**words, recipes=[recipe])
        rows = Counter((row.layer, row.kind) for row in found.checks if row.gating and row.recipe)
        listed = expected(subjects=[SMALL], cases=["song"], recipes=[like])
        assert rows == Counter((r.layer, r.kind) for r in listed.checks if r.gating and r.recipe)


# The commands.


def sound_run(**changes: object) -> Run:
    """A run of the default profile: two checks of each layer and subject, and an injected bug."""
    passed = Outcome(Verdict.PASS, "", "", "")
    labels = [
        {"subject": subject, "case": "song", "tensor": tensor}
        for subject in DEFAULT.subjects
        for tensor in ("freq", "time")
    ]
    checks = [Check(layer, row, True, gate("stft"), passed) for layer in LAYERS for row in labels]
    fault = InjectedFault("stems.order", "stems", "b", "s", "e", FaultOutcome.CAUGHT)
    engines = tuple(EngineState(name, True, "", executed=True) for name in DEFAULT.engines)
    run = Run(DEFAULT, tuple(checks), engines, faults=(fault,), started="2026-01-02T03:04:05+00:00")
    return replace(run, **changes)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    path.write_text(sound_run().to_json(), "utf-8")
    return path


@pytest.mark.parametrize(
    ("since", "code", "words"),
    [
        ("", 0, "PASS: all 20 gating checks hold"),
        ("2026-01-02T03:04:05+00:00", 0, "PASS: all 20 gating checks hold"),
        ("2026-01-02T03:04:06+00:00", 3, "whatever was run since wrote no run"),
        ("2026-01-02T04:04:06+02:00", 0, "PASS: "),
        ("yesterday", 2, "expected a time like"),
        ("2026-01-02T03:04:06", 2, "expected a time with its zone"),
    ],
)
def test_a_run_of_before_is_no_answer(
    file: Path, capsys: pytest.CaptureFixture[str], since: str, code: int, words: str
) -> None:
    arguments = ["verdict", str(file), *(["--since", since] if since else [])]
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert words in " ".join((printed.out + printed.err).split())


def test_no_run_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verdict", str(tmp_path / "run.json"), "--json"]) == 3
    assert "there is no run at" in json.loads(capsys.readouterr().out)["error"]


def test_the_verdict_of_a_run_is_the_exit_code_and_says_what_is_missing(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = sound_run(expected=LISTED)
    file.write_text(short.to_json(), "utf-8")
    assert main(["verdict", str(file), "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdict"] == "not_evaluated"
    assert answer["coverage"].startswith("incomplete: 0 of ")
    assert any(line.startswith("layer stft: 0 of ") for line in answer["reasons"])


def test_the_page_and_the_summary_say_how_complete_a_run_is(tmp_path: Path) -> None:
    total = sum(row.gating for row in LISTED.checks)
    page = write_report(sound_run(expected=LISTED), tmp_path).read_text("utf-8")
    for text in (page, (tmp_path / "summary.md").read_text("utf-8")):
        assert f"ncomplete: 0 of {total} expected gating checks" in text
        assert "layer stft: 0 of " in text


def test_accepting_a_run_lists_what_it_looked_at_and_says_what_changes(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even one that is short of the inventory before: that is how something is taken off it."""
    inventory = tmp_path / "inventory.json"
    words = [str(file), "--inventory", str(inventory)]
    assert main(["inventory", "accept", *words]) == 0
    assert read_inventory(inventory) == inventory_of(sound_run().checks, sound_run().faults)
    assert main(["inventory", "diff", *words]) == 0
    capsys.readouterr()
    before = Expectation(read_inventory(inventory).checks)
    short = sound_run(checks=sound_run().checks[1:], expected=before)
    assert short.exit_code == 3
    file.write_text(short.to_json(), "utf-8")
    assert main(["inventory", "diff", *words]) == 1
    assert main(["inventory", "accept", *words]) == 0
    assert capsys.readouterr().out.count(f"ops/{SMALL}/song/stft: 2 gating, now 1") == 2
    assert main(["inventory", "diff", *words]) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"profile": replace(DEFAULT, subjects=(SMALL,))}, "is no run of the default profile"),
        ({"gaps": ("2 tests were deselected",)}, "2 tests were deselected"),
        ({"faults": ()}, "no known bug was injected"),
    ],
)
def test_a_run_that_is_narrowed_or_not_sound_lists_nothing(
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    words: str,
) -> None:
    file.write_text(sound_run(**changes).to_json(), "utf-8")
    inventory = tmp_path / "inventory.json"
    assert main(["inventory", "accept", str(file), "--inventory", str(inventory)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not inventory.exists()
