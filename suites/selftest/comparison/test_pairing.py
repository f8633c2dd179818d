"""Which file belongs to which: a wrong partner is a green without a look, or a false red."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.comparison import (
    pair_up,
    read_side,
)
from suites.selftest.comparison.sides import RATE, compared, failing, noise, tensors, write


def test_other_names_are_paired_by_content_and_it_is_said(tmp_path: Path) -> None:
    drums, bass, other = (noise(seed, (2, RATE)) for seed in (20, 21, 22))
    write(tmp_path / "e", drums=drums, bass=bass, other=other)
    write(tmp_path / "a", track1=other, track2=drums, track3=bass)
    pairs = pair_up(read_side(tmp_path / "e"), read_side(tmp_path / "a"))
    assert [pair.note.partition(",")[0] for pair in pairs] == [
        "with track3.wav",
        "with track2.wav",
        "with track1.wav",
    ]
    assert all("by content (correlation 1.00)" in pair.note for pair in pairs)
    assert failing(compared(tmp_path / "e", tmp_path / "a")) == []


def test_content_is_found_although_it_is_late_and_inverted(tmp_path: Path) -> None:
    drums, bass = (noise(seed, (2, RATE)) for seed in (23, 24))
    write(tmp_path / "e", drums=drums, bass=bass)
    write(tmp_path / "a", one=-np.roll(bass, 5000, 1), two=np.roll(drums, 99, 1))
    notes = [p.note for p in pair_up(read_side(tmp_path / "e"), read_side(tmp_path / "a"))]
    assert [note.split(",")[0] for note in notes] == ["with one.wav", "with two.wav"]


def test_a_silent_stem_is_found_by_what_its_name_has_in_common(tmp_path: Path) -> None:
    drums = noise(25, (2, RATE))
    write(tmp_path / "e", drums=drums, piano=0 * drums)
    write(tmp_path / "a", **{"01_drums": drums, "02-piano": 0 * drums})
    notes = [p.note for p in pair_up(read_side(tmp_path / "e"), read_side(tmp_path / "a"))]
    assert notes[1] == "with 02-piano.wav, by name"


def test_names_that_both_sides_have_are_believed(tmp_path: Path) -> None:
    """Exchanged stems must fail, and not be paired until they pass."""
    vocals, bass = noise(26, (2, RATE)), noise(27, (2, RATE))
    write(tmp_path / "e", vocals=vocals, bass=bass)
    write(tmp_path / "a", vocals=bass, bass=vocals)
    causes = [row.cause.words for row in compared(tmp_path / "e", tmp_path / "a") if row.cause]
    assert causes == [
        "another stem stands here: vocals.wav",
        "another stem stands here: bass.wav",
    ]


@pytest.mark.parametrize("form", ["{}_est", "07 {}", "{}Output", "song-{}-v2", "PRED_{}"])
def test_stems_that_are_exchanged_under_longer_names_fail(tmp_path: Path, form: str) -> None:
    """By content they are paired until they pass, and a port that exchanged them is wrong."""
    names = ("vocals", "bass", "lead_vocals")
    parts = [noise(seed, (2, RATE)) for seed in (33, 34, 35)]
    write(tmp_path / "e", **dict(zip(names, parts, strict=True)))
    turned = dict(zip(names, (parts[1], parts[0], parts[2]), strict=True))
    write(tmp_path / "a", **{form.format(name): part for name, part in turned.items()})
    rows = compared(tmp_path / "e", tmp_path / "a")
    assert [row.cause.words for row in rows if row.cause] == [
        "another stem stands here: vocals.wav",
        "another stem stands here: bass.wav",
    ]


def test_a_word_that_two_names_have_tells_nothing(tmp_path: Path) -> None:
    drums, bass = (noise(seed, (2, RATE)) for seed in (36, 37))
    write(tmp_path / "e", drums=drums, bass=bass)
    write(tmp_path / "a", bass_and_drums_1=bass, bass_and_drums_2=drums)
    notes = [p.note for p in pair_up(read_side(tmp_path / "e"), read_side(tmp_path / "a"))]
    assert [note.split(",")[0] for note in notes] == [
        "with bass_and_drums_1.wav",
        "with bass_and_drums_2.wav",
    ]


def test_other_music_is_no_partner(tmp_path: Path) -> None:
    write(tmp_path / "e", drums=noise(28, (2, RATE)), bass=noise(29, (2, RATE)))
    write(tmp_path / "a", x=noise(30, (2, RATE)), y=noise(31, (2, RATE)))
    rows = compared(tmp_path / "e", tmp_path / "a")
    assert len(rows) == 4
    assert {row.outcome.reason for row in rows} == {
        "the candidate has no such tensor",
        "the reference has no such tensor",
    }


def test_tensors_are_never_paired_by_content() -> None:
    one = noise(32, (3, 4))
    pairs = pair_up(tensors(a=one, b=one), tensors(a=one, c=one))
    assert [(pair.name, pair.expected is None, pair.actual is None) for pair in pairs] == [
        ("a", False, False),
        ("b", False, True),
        ("c", True, False),
    ]
