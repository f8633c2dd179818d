"""What a run evaluates: each subject its own cases, narrowed as the command line says."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.golden import load_cases
from harness.golden.records import read_manifest
from harness.places import GOLDEN_ROOT
from harness.profiles import DEFAULT, chosen_profile, work_of

FULL_SIZE = "htdemucs_6s@seeded"
CASES = load_cases(GOLDEN_ROOT / "recipes.toml")


def work(**chosen: list[str]) -> tuple[tuple[str, str], ...]:
    return work_of(chosen_profile(**chosen), CASES)


def test_the_trained_subject_takes_every_case_and_the_full_size_a_few() -> None:
    assert [case for subject, case in work() if subject == "mini"] == list(CASES)
    full = [case for subject, case in work() if subject == FULL_SIZE]
    assert set(full) < set(CASES)
    assert {"song", "noise"} <= set(full)  # the cases with taps


def test_untouched_options_are_the_default_profile() -> None:
    assert chosen_profile() == DEFAULT


def test_a_case_narrows_each_subject_to_what_it_has() -> None:
    assert work(cases=["song"]) == (("mini", "song"), (FULL_SIZE, "song"))


def test_a_default_subject_without_the_case_is_left_out() -> None:
    profile = chosen_profile(cases=["silence"])
    assert profile.subjects == ("mini",)


def test_a_named_subject_takes_the_named_case_whatever_its_default() -> None:
    assert work(subjects=[FULL_SIZE], cases=["silence"]) == ((FULL_SIZE, "silence"),)


def test_a_named_default_subject_keeps_its_cases_and_a_stranger_takes_all() -> None:
    assert {case for _, case in work(subjects=[FULL_SIZE])} == set(DEFAULT.cases[FULL_SIZE])
    assert [case for _, case in work(subjects=["htdemucs@model.th"])] == list(CASES)


def test_a_case_that_is_given_twice_is_one() -> None:
    assert work(subjects=["mini"], cases=["song", "song"]) == (("mini", "song"),)


def test_checks_of_a_recipe_from_a_file_have_its_name_and_no_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "gates_wide"\ndefault = "fp16"\n', "utf-8")
    assert chosen_profile(recipes=[str(file), "fp32"]).recipes == ("gates_wide", "fp32")


@pytest.mark.parametrize("engines", [["coreml"], ["mil", "coreml"]])
def test_a_required_engine_comes_on_top(engines: list[str]) -> None:
    assert chosen_profile(engines=engines).engines == ("torch", "mil", "coreml")


def test_the_manifest_vouches_for_what_a_run_uses_and_for_nothing_else() -> None:
    assert read_manifest(GOLDEN_ROOT / "manifest.json").keys() == set(work())


def test_no_song_was_heard_in_training() -> None:
    """`mini` was trained on the seeds from 1,000,000 on."""
    songs = [case for case in CASES.values() if case.kind == "song"]
    assert len({case.seed for case in songs}) >= 4
    assert all(case.parameters["seed"] < 1_000_000 for case in songs)
