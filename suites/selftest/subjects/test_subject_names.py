from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from demucs.pretrained import REMOTE_ROOT
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ParityError, UnknownNameError
from harness.subjects import ARCHITECTURES, SubjectName, parse_subject_name
from harness.subjects.names import with_settings


@pytest.mark.parametrize(
    ("text", "seed", "path"),
    [
        ("htdemucs", None, None),
        ("htdemucs@seeded", 0, None),
        ("htdemucs@seeded:0", 0, None),
        ("htdemucs@seeded:7", 7, None),
        ("htdemucs@seeded.th", None, Path("seeded.th")),
        ("htdemucs@./seeded", None, Path("seeded")),
        ("htdemucs@a@b/c.th", None, Path("a@b/c.th")),
    ],
)
def test_parts_of_a_name(text: str, seed: int | None, path: Path | None) -> None:
    name = parse_subject_name(text)
    assert (name.architecture, name.seed, name.path) == ("htdemucs", seed, path)


@given(
    architecture=st.sampled_from(sorted(ARCHITECTURES)),
    weights=st.none()
    | st.integers(0, 2**63 - 1).map(lambda seed: f"seeded:{seed}")
    | st.text(min_size=1).filter(lambda text: text[0] != "?" and not text.startswith("seeded:")),
)
def test_a_parsed_name_reads_back_as_itself(architecture: str, weights: str | None) -> None:
    parsed = parse_subject_name(str(SubjectName(architecture, weights)))
    assert parse_subject_name(str(parsed)) == parsed
    assert parsed.architecture == architecture


@given(
    options=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
        st.text(st.characters(exclude_characters="&=?")),
        min_size=1,
    ),
    weights=st.sampled_from([None, "seeded", "seeded:7", "a b/c.th", "what?.th", "a?b=c/d.th"]),
)
def test_options_read_back_as_themselves(options: dict[str, str], weights: str | None) -> None:
    name = SubjectName("htdemucs", weights, tuple(sorted(options.items())))
    assert parse_subject_name(str(name)) == name


@pytest.mark.parametrize("path", ["model?.th", "a?b", "what?x=1/y.th&z", "?", "a?B=1"])
def test_a_question_mark_in_a_path_stays_in_it(path: str) -> None:
    assert parse_subject_name(f"htdemucs@{path}") == SubjectName("htdemucs", path)


def test_settings_join_the_options_of_a_name() -> None:
    assert with_settings("mini", []) == "mini"
    assert with_settings("mini", ["segment=5"]) == "mini?segment=5"
    joined = with_settings("mini@a.th?segment=5", ["sources=a,b"])
    assert joined == "mini@a.th?segment=5&sources=a,b"
    for setting in ("segment", "segment=1&depth=2", "=5", "Segment=5", ""):
        with pytest.raises(ParityError, match="no KEY=VALUE"):
            with_settings("mini", [setting])
    with pytest.raises(ParityError, match="gives the option 'segment' twice"):
        with_settings("mini?segment=5", ["segment=6"])


def test_home_folder_is_found() -> None:
    assert parse_subject_name("htdemucs@~/w.th").path == Path.home() / "w.th"


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'htdemucs_6s'"):
        parse_subject_name("htdemucs6s@seeded")


@pytest.mark.parametrize("seed", ["", "-1", "1.5", "²", "9" * 5000])
def test_a_seed_that_is_no_whole_number_is_refused(seed: str) -> None:
    with pytest.raises(ParityError, match="no whole number"):
        parse_subject_name(f"htdemucs@seeded:{seed}")


def test_seeds_that_do_not_fit_are_refused() -> None:
    assert parse_subject_name(f"htdemucs@seeded:{2**63 - 1}").seed == 2**63 - 1
    with pytest.raises(ParityError, match="no whole number"):
        parse_subject_name(f"htdemucs@seeded:{2**63}")


def test_nothing_behind_the_at_is_refused() -> None:
    with pytest.raises(ParityError, match="htdemucs_6s@seeded"):
        parse_subject_name("htdemucs_6s@")


@pytest.mark.parametrize("name", ["htdemucs", "htdemucs_6s", "htdemucs_ft"])
def test_members_and_their_weights_are_those_of_demucs(name: str) -> None:
    """Demucs' own table is the oracle: another member means other weights are proven."""
    bag = yaml.safe_load((REMOTE_ROOT / f"{name}.yaml").read_text())
    row = ARCHITECTURES[name]
    assert list(row.members) == bag["models"]
    ones = [[1.0] * len(row.sources)]
    assert [list(weights) for weights in row.bag_weights] == bag.get("weights", ones)


def test_six_stems_are_in_the_order_of_the_contract() -> None:
    stems = ("drums", "bass", "other", "vocals", "guitar", "piano")
    assert ARCHITECTURES["htdemucs_6s"].sources == stems
