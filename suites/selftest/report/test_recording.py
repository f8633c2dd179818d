"""What a run keeps for figures: if these fail, a picture shows another signal than the one made."""

from __future__ import annotations

import base64
import io
import json
import zlib
from dataclasses import asdict

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.audio import SAMPLE_RATE
from harness.layers import stem_scores
from harness.metrics import ReferenceProjection, separation_metrics
from harness.subjects import describe_subject
from harness.verdicts import Profile, Run
from harness.verdicts.rows.artefacts import Artefacts
from harness.verdicts.rows.scores import Scores
from harness.verdicts.rows.signals import Quality, Raster
from harness.workbench.music import Music
from harness.workbench.operations import tap_series
from harness.workbench.pictures import (
    audio_clip,
    error_counts,
    outline_of,
    picture_row,
    rows_beside,
    separation_rows,
    stem_picture,
    stem_timeline,
    timeline_rows,
)
from harness.workbench.predictions import Prediction
from harness.workbench.rasters import COLUMNS, LOW_HZ, ROWS, high_hz, raster, spectrogram_db
from harness.workbench.transforms import forward_error, round_trip_error
from suites.selftest.report.figure_rows import labels, stem

LABELS = labels("fp16")


def codes(item: Raster) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(item.pixels))
    return np.frombuffer(data, np.uint8).reshape(item.rows, item.columns)


def heard(item: str) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(item)), always_2d=True)
    assert rate == SAMPLE_RATE
    return np.asarray(samples.T)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 96_000])
@pytest.mark.parametrize(("hertz", "level_db"), [(440.0, -6.0), (3000.0, -20.0), (12_000.0, -40.0)])
def test_a_tone_is_at_its_frequency_and_level(hertz: float, level_db: float, rate: int) -> None:
    """Of a network at any sample rate, half of which may be below what is drawn of others."""
    hertz = min(hertz, 0.4 * rate)
    t = np.arange(2 * rate) / rate
    tone = 10 ** (level_db / 20) * np.sin(2 * np.pi * hertz * t)
    shown = spectrogram_db(np.stack([tone, tone]), rate)
    assert shown.shape == (ROWS, COLUMNS)
    row = int(shown[:, COLUMNS // 2].argmax())
    place = LOW_HZ * (high_hz(rate) / LOW_HZ) ** ((ROWS - row - 0.5) / ROWS)
    assert place == pytest.approx(hertz, rel=0.08)
    assert level_db - 1.5 < shown[row, COLUMNS // 2] < level_db + 0.1


@given(low=st.floats(-200, 0), size=st.floats(1, 100))
@settings(max_examples=20)
def test_a_raster_keeps_levels_to_half_a_step(low: float, size: float) -> None:
    levels = np.linspace(low, low + size, 24).reshape(4, 6)
    item = raster(levels, low, low + size)
    again = low + codes(item) / (item.levels - 1) * size
    assert np.abs(again - levels).max() <= 0.5 * size / (item.levels - 1) + 1e-9


def test_a_candidate_that_is_not_finite_is_drawn() -> None:
    """As where FP16 overflows: what is left over has no level, but a picture."""
    expected, actual = stem()
    item = stem_picture(expected, actual * np.float32(np.nan), "drums", LABELS, rate=SAMPLE_RATE)
    assert item.snr_db is None
    assert not codes(item.difference).any()
    assert codes(item.reference).any()


def test_an_error_in_one_second_is_drawn_there() -> None:
    expected, actual = stem()
    item = stem_picture(expected, actual, "drums", LABELS, rate=SAMPLE_RATE)
    difference = codes(item.difference).astype(float)
    half = COLUMNS // 2
    assert difference[:, half + 5 :].mean() > difference[:, : half - 5].mean() + 10
    assert max(item.rest_high[half:]) > 20 * max(item.rest_high[: half - 5])
    line = stem_timeline(expected, actual, "drums", LABELS, rate=SAMPLE_RATE)
    assert line.start_s == (0.0, 1.0)
    assert line.snr_db[0] is not None
    assert line.snr_db[1] is not None
    assert 25 < line.snr_db[0] - line.snr_db[1] < 35


def test_the_worse_channel_counts_and_silence_has_no_ratio() -> None:
    expected, actual = (side.copy() for side in stem())
    actual[0] = expected[0]
    line = stem_timeline(expected, actual, "drums", LABELS, rate=SAMPLE_RATE)
    assert all(level is not None and level < 100 for level in line.snr_db)
    silent = stem_timeline(0 * expected, 0 * expected, "drums", LABELS, rate=SAMPLE_RATE)
    assert silent.snr_db == (None, None)


def test_a_sample_that_is_not_a_number_is_the_worst_second() -> None:
    expected, actual = (side.copy() for side in stem())
    actual[0, 10] = np.nan
    line = stem_timeline(expected, actual, "drums", LABELS, rate=SAMPLE_RATE)
    assert line.snr_db[0] is not None
    assert np.isnan(line.snr_db[0])
    counted = error_counts(expected, actual, "stems", LABELS)
    assert counted.non_finite == 1


@pytest.mark.parametrize("rate", [8000, 48_000])
def test_seconds_are_those_of_the_network_s_sample_rate(rate: int) -> None:
    """At 44,100 samples a second, a network of another rate would be shown at the wrong times."""
    expected = np.random.default_rng(0).standard_normal((1, 3 * rate)).astype(np.float32) / 9
    actual = expected.copy()
    actual[:, rate : rate + 50] += 1e-2  # in the second second
    line = stem_timeline(expected, actual, "drums", LABELS, rate=rate)
    assert (line.stretch_s, line.start_s) == (1.0, (0.0, 1.0, 2.0))
    assert [level == np.inf for level in line.snr_db] == [True, False, True]
    picture = stem_picture(expected, actual, "drums", LABELS, rate=rate)
    assert (picture.duration_s, picture.high_hz) == (3.0, high_hz(rate))
    clip = audio_clip(expected, actual, "drums", 1.0, LABELS, rate=rate)
    assert (clip.start_s, clip.duration_s) == (1.0, 2.0)
    assert soundfile.info(io.BytesIO(base64.b64decode(clip.reference))).samplerate == rate


def test_the_same_stem_gives_the_same_row() -> None:
    one, other = (
        json.dumps(asdict(stem_picture(*stem(), "drums", LABELS, rate=SAMPLE_RATE))) for _ in "12"
    )
    assert one == other
    assert len(one) < 120_000


def test_a_difference_is_heard_at_the_stated_gain() -> None:
    expected, actual = stem()
    item = audio_clip(expected, actual, "drums", 1.5, LABELS, rate=SAMPLE_RATE)
    rest = heard(item.difference)
    wanted = (actual - expected)[:, : rest.shape[1]] * 10 ** (item.difference_gain_db / 20)
    assert np.abs(rest - wanted).max() < 1e-4
    assert 0.4 < np.abs(rest).max() <= 0.51
    again = audio_clip(expected, expected, "drums", 0.0, LABELS, rate=SAMPLE_RATE)
    assert again.difference_gain_db == 0
    assert not heard(again.difference).any()


def test_a_wrong_edge_frame_stands_out() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 4, 2048, 40))
    wrong = noise * (1 + 1e-7)
    wrong[..., 0] *= 1 + 1e-4
    found = forward_error(noise, wrong, "x", "noise")
    assert found.by_time_db[0] > found.by_time_db[1] + 50
    assert len(found.by_time_db) == 40
    dropped = noise.copy()
    dropped[:, :, -1] = 0
    assert int(np.argmax(forward_error(noise, dropped, "x", "n").by_frequency_db)) == 127


def test_blocks_of_a_round_trip_are_hops() -> None:
    wave = np.random.default_rng(0).standard_normal((1, 2, 10_240))
    wrong = wave.copy()
    wrong[..., 2048:3072] += 1e-3
    found = round_trip_error(wave, wrong, "x")
    assert len(found.by_time_db) == 10
    assert int(np.argmax(found.by_time_db)) == 2
    assert found.by_time_db[2] == pytest.approx(-60, abs=0.5)


@pytest.mark.parametrize("subject", ["mini", "htdemucs_6s@seeded"])
def test_every_tap_is_in_a_stage_of_its_branch(subject: str) -> None:
    """A tap of no stage would be named after its module, and hide the names beside it."""
    outline = outline_of(subject)
    for tap in describe_subject(subject).interface.inner_taps:
        stage = outline.stage_of(tap)
        assert stage is not None, tap
        of_time = tap.startswith("t") or tap.endswith(("_t", ".time")) or "_t." in tap
        assert stage.branch == outline.branches[of_time], tap
    assert outline.branches == ("freq", "time")


def test_what_is_recorded_of_stems_can_be_read_again() -> None:
    """A row that its own reader refuses would be missing from every page."""
    sources, network = ("drums", "bass"), describe_subject("mini")
    noise = np.random.default_rng(4)
    expected = (0.1 * noise.standard_normal((2, 2, 2 * SAMPLE_RATE))).astype(np.float32)
    actual = (expected + 1e-4 * noise.standard_normal(expected.shape)).astype(np.float32)
    metrics = separation_metrics(ReferenceProjection(expected), actual, sources=sources)
    truth = ReferenceProjection(expected.astype(np.float64))
    song = {"true_stems": truth.references, "audio": expected.sum(axis=0, keepdims=True)}
    sides = [Music(song, sources, SAMPLE_RATE).quality_of(actual)] * 2
    taps = Prediction(network, {}, {"encoder.0": actual}, {"encoder.0": "fp16"})
    rows = (
        *separation_rows(expected, actual, metrics, LABELS, rate=SAMPLE_RATE),
        *rows_beside(Quality, *sides, LABELS),
        *rows_beside(Scores, *(stem_scores(truth, actual, sources, SAMPLE_RATE),) * 2, LABELS),
        *timeline_rows(expected, actual, sources, LABELS, rate=SAMPLE_RATE),
        picture_row(expected, actual, sources, LABELS, rate=SAMPLE_RATE),
        tap_series({"tap.encoder.0": expected}, taps, LABELS),
        outline_of("mini"),
    )
    run = Run(Profile("x"), (), artefacts=Artefacts().plus(rows))
    again = Run.from_json(run.to_json())
    assert again.damaged == ()
    assert again.to_json() == run.to_json()
    kept = again.artefacts
    assert [row.stem for row in (*kept.separation, *kept.quality)] == [*sources, *sources]
    assert [row.stem for row in kept.scores] == [*sources]
    assert kept.scores[0].actual.sdr_db == pytest.approx(60.0, abs=0.5)
    assert kept.taps[0].operations[0].snr_db == pytest.approx(60.0, abs=0.5)
