"""Recipes: what is written is what is made, and what is wrong is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.audio.contract import SEGMENT_LENGTH
from harness.errors import ParityError, RecipeError, UnknownNameError
from harness.golden import Case, load_cases

COMMITTED = Path(__file__).parents[3] / "golden" / "recipes.toml"

NOISE = """
[case.noise]
kind = "noise"
why = "every frequency"
seed = 42
level_db = -20.0
"""


def load(tmp_path: Path, text: str) -> dict[str, Case]:
    path = tmp_path / "recipes.toml"
    path.write_text(text, encoding="utf-8")
    return load_cases(path)


def test_the_committed_recipes_cover_what_the_suites_ask_for() -> None:
    cases = load_cases(COMMITTED)
    assert {"silence", "sine", "noise", "chirp", "impulse", "quiet", "hot", "dc"} <= cases.keys()
    assert [name for name, case in cases.items() if case.taps] == ["noise", "song"]
    assert [name for name, case in cases.items() if case.is_file] == ["song_file"]
    assert cases["song_file"].length > 2 * SEGMENT_LENGTH
    assert len({case.hash for case in cases.values()}) == len(cases)


def test_a_recipe_has_the_contract_s_length_and_no_taps_by_default(tmp_path: Path) -> None:
    case = load(tmp_path, NOISE)["noise"]
    assert case.length == SEGMENT_LENGTH
    assert (case.scope, case.taps, case.is_file, case.seed) == ("segment", False, False, 42)
    assert dict(case.parameters) == {"seed": 42, "level_db": -20.0}


def test_a_case_without_randomness_has_no_seed(tmp_path: Path) -> None:
    assert load(tmp_path, '[case.a]\nkind = "silence"\nwhy = "x"')["a"].seed is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed = 42", "seed = 43"),
        ("level_db = -20.0", "level_db = -20.5"),
        ("seed = 42", "seed = 42\ntaps = true"),
        ("seed = 42", "seed = 42\nlength = 1000"),
        ("seed = 42", 'seed = 42\nscope = "file"'),
        ("seed = 42", "seed = 42\nfloor_db = -40.0"),
    ],
)
def test_whatever_decides_the_tensors_decides_the_hash(tmp_path: Path, old: str, new: str) -> None:
    before = load(tmp_path, NOISE)["noise"]
    assert load(tmp_path, NOISE.replace(old, new))["noise"].hash != before.hash


@pytest.mark.parametrize(
    ("old", "new"),
    [("every frequency", "all of them"), ("-20.0", "-20"), ("[case.noise]", "[case.other]")],
)
def test_what_does_not_decide_the_tensors_does_not_change_the_hash(
    tmp_path: Path, old: str, new: str
) -> None:
    (before,) = load(tmp_path, NOISE).values()
    (after,) = load(tmp_path, NOISE.replace(old, new)).values()
    assert after.hash == before.hash


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "noise"', 'kind = "nose"', "did you mean 'noise'"),
        ("seed = 42", "sed = 42", "did you mean 'seed'"),
        ("seed = 42", "seed = 42\nfrequency_hz = 1.0", "frequency_hz"),
        ("[case.noise]", "[cases.noise]", "did you mean 'case'"),
        ("seed = 42", 'seed = 42\nscope = "segmnt"', "did you mean 'segment'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_near_match(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    with pytest.raises(UnknownNameError, match=words):
        load(tmp_path, NOISE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed = 42", "", "has no 'seed'"),
        ('kind = "noise"', "", "has no 'kind'"),
        ("seed = 42", "seed = 42.0", "seed is 42.0, expected a int"),
        ("seed = 42", "seed = true", "seed is True"),
        ("seed = 42", "seed = -1", "expected 0 or more"),
        ("-20.0", "nan", "expected a finite number"),
        ("-20.0", '"loud"', "expected a float"),
        ('why = "every frequency"', 'why = " "', "'why' is empty"),
        ("seed = 42", "seed = 42\nlength = 0", "at least 1 sample"),
        ("seed = 42", 'seed = 42\ntaps = true\nscope = "file"', "a file has no taps"),
        ("[case.noise]", '[case."No Ise"]', "lower-case letters"),
        ("[case.noise]", "[case.noise", "no TOML file"),
    ],
)
def test_a_wrong_recipe_names_the_case_and_what_was_expected(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        load(tmp_path, NOISE.replace(old, new))


@pytest.mark.parametrize("text", ["", "case = 3", "[case]", "case.a = 3"])
def test_a_file_without_cases_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError):
        load(tmp_path, text)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="run in the project's folder"):
        load_cases(tmp_path / "recipes.toml")


@pytest.mark.parametrize("place", ["a pipe", "a device", "a folder"])
def test_a_case_s_file_must_be_a_file(place: str, tmp_path: Path) -> None:
    """Its hash is asked for before it is read: of a pipe or a device that might never end."""
    file = tmp_path / "case.npy"
    if place == "a pipe":
        os.mkfifo(file)
    elif place == "a device":
        file.symlink_to("/dev/zero")
    else:
        file.mkdir()
    text = 'name = "x"\nfactory = "a:b"\n[case.told]\nwhy = "a file"\nfile = "case.npy"\n'
    with pytest.raises(RecipeError, match=r"case\.npy is no regular file"):
        load(tmp_path, text)
