"""Every instrument plays every plan, the table refuses mistakes, and streams stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.subjects.songs import STEMS, instruments, make_song
from harness.subjects.songs.arrangement import METERS, draw_plan
from harness.subjects.songs.drums import GROOVES, KITS, kick, snare, tom
from harness.subjects.songs.melody import compose
from harness.subjects.songs.players import Canvas, Instrument, instrument

RATE = 44_100
ALL = [row for stem in STEMS for row in instruments(stem)]


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.name)
def test_every_instrument_sounds_in_every_meter(row: Instrument) -> None:
    heard: set[str] = set()
    for seed in range(60):
        plan = draw_plan(np.random.default_rng(seed), 2 * RATE)
        if plan.meter.name in heard or row.stem in plan.bars[0].section.silent:
            continue
        heard.add(plan.meter.name)
        signal = row.play(plan, np.random.default_rng(seed))
        assert signal.shape == (2, 2 * RATE)
        assert np.isfinite(signal).all()
        assert signal.std() > 1e-3
    assert heard == {meter.name for meter, _ in METERS}


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(ALL), st.integers(0, 2**32 - 1), st.integers(44_100, 165_000))
def test_every_instrument_plays_any_plan(row: Instrument, seed: int, length: int) -> None:
    """Notes that are cut by either end must not break an instrument: training draws thousands."""
    plan = draw_plan(np.random.default_rng(seed), length)
    signal = row.play(plan, np.random.default_rng(seed))
    assert signal.shape == (2, length)
    assert np.isfinite(signal).all()


def test_every_stem_has_several_instruments() -> None:
    assert min(len(instruments(stem)) for stem in STEMS) >= 4


def test_a_repeated_or_misplaced_instrument_is_refused() -> None:
    taken = instruments("bass")[0].name
    with pytest.raises(ValueError, match="repeated name"):
        instrument("bass", taken)
    with pytest.raises(ValueError, match="unknown stem"):
        instrument("flute", "flute")


def test_a_change_to_one_instrument_leaves_the_other_stems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise every golden would move whenever one timbre is touched."""
    before = make_song(4, 3.0)
    name = before.description["instruments"]["guitar"]
    row = next(row for row in instruments("guitar") if row.name == name)
    hushed = Instrument(row.stem, row.name, row.weight, lambda p, r: 0.5 * np.flip(row.play(p, r)))
    monkeypatch.setattr(
        "harness.subjects.songs.song.draw_instrument",
        lambda stem, rng: hushed if stem == "guitar" else _draw(stem, rng),
    )
    after = make_song(4, 3.0)
    for index, stem in enumerate(STEMS):
        old, new = before.stems[index].astype(float), after.stems[index].astype(float)
        correlation = (old * new).sum() / np.sqrt((old**2).sum() * (new**2).sum())
        assert (correlation > 0.99) == (stem != "guitar"), stem


def _draw(stem: str, rng: np.random.Generator) -> Instrument:
    from harness.subjects.songs.players import draw_instrument

    return draw_instrument(stem, rng)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), seconds=st.floats(7.8, 30.0))
def test_every_plan_lets_every_stem_play(seed: int, seconds: float) -> None:
    plan = draw_plan(np.random.default_rng(seed), round(seconds * RATE))
    bar_s = plan.meter.steps_per_bar * plan.step_s
    assert plan.start_s <= 0.0
    assert plan.start_s + len(plan.bars) * bar_s >= plan.duration_s - 1e-6
    for stem in STEMS:
        played = sum(
            min(plan.time_s(bar, 0) + bar_s, plan.duration_s) - max(plan.time_s(bar, 0), 0.0)
            for bar in plan.bars_of(stem)
        )
        assert played > 0.3 * plan.duration_s
    assert compose(plan, (52.0, 69.0), np.random.default_rng(seed))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), low=st.integers(45, 64))
def test_melodies_stay_in_key_and_range(seed: int, low: int) -> None:
    plan = draw_plan(np.random.default_rng(seed), 8 * RATE)
    scale = {pitch % 12 for pitch in plan.key.scale_pitches(60, 71)}
    for phrase in compose(plan, (low, low + 17), np.random.default_rng(seed)):
        for note in phrase.notes:
            assert low <= note.pitch <= low + 17
            assert note.pitch % 12 in scale


def test_grooves_fill_their_bars() -> None:
    steps = {meter.name: meter.steps_per_bar for meter, _ in METERS}
    assert set(GROOVES) == set(steps)
    for name, grooves in GROOVES.items():
        assert {len(voice) for groove in grooves for voice in groove} == {steps[name]}


@pytest.mark.parametrize("name", list(KITS))
def test_drum_voices_lie_where_they_should(name: str) -> None:
    rng = np.random.default_rng(0)
    kit = KITS[name]

    def centroid_hz(sound: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(sound)) ** 2
        return float((power * np.fft.rfftfreq(sound.size, 1 / RATE)).sum() / power.sum())

    low, middle = centroid_hz(kick(kit, rng)), centroid_hz(snare(kit, rng))
    assert low < 500 < middle
    assert low < centroid_hz(tom(2 * kit.tom_hz, rng)) < middle


def test_the_canvas_cuts_what_lies_outside() -> None:
    plan = draw_plan(np.random.default_rng(0), RATE)
    canvas = Canvas(plan)
    ramp = np.arange(1, 1001, dtype=float)
    canvas.add(ramp, -600 / RATE)
    canvas.add(ramp, (RATE - 300) / RATE)
    canvas.add(ramp, 5.0)
    canvas.add(ramp, -5.0)
    np.testing.assert_allclose(canvas.signal[0, :400], ramp[600:])
    np.testing.assert_allclose(canvas.signal[1, -300:], ramp[:300])
    assert not canvas.signal[:, 400:-300].any()
