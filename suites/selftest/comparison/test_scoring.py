"""``parity compare --scores``: published scores beside the verdict, which they don't change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.audio import SAMPLE_RATE
from harness.cli import main
from harness.metrics import framewise_metrics, octave_snr_db, source_metrics
from harness.verdicts import Run

STEMS = ("drums", "bass", "other", "vocals")


def song(seed: int = 0, samples: int = 2 * SAMPLE_RATE + 100) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((4, 2, samples))
    return np.asarray(0.05 * noise, dtype=np.float32)


def folder(path: Path, stems: np.ndarray, rate: int = SAMPLE_RATE) -> str:
    path.mkdir()
    for name, stem in zip(STEMS, stems, strict=True):
        soundfile.write(path / f"{name}.wav", stem.T, rate, subtype="FLOAT")
    return str(path)


def test_folders_and_tensors_get_the_scores_of_the_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = song()
    actual = np.asarray(expected + 0.01 * expected[::-1], dtype=np.float32)
    np.savez(tmp_path / "a.npz", stems=expected)
    np.savez(tmp_path / "b.npz", stems=actual)
    pairs = [
        (folder(tmp_path / "a", expected), folder(tmp_path / "b", actual)),
        (str(tmp_path / "a.npz"), str(tmp_path / "b.npz")),
    ]
    windows = dict(zip(STEMS, framewise_metrics(expected, actual), strict=True))
    whole = dict(zip(STEMS, source_metrics(expected, actual), strict=True))
    for pair in pairs:
        assert main(["compare", *pair, "--scores", "--json", "--min-snr", "30"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert {row["stem"] for row in document["scores"]} == set(STEMS)
        for row in document["scores"]:
            assert row["sir_db"] == pytest.approx(windows[row["stem"]].median_db("sir_db"))
            assert row["source_sar_db"] == pytest.approx(whole[row["stem"]].sar_db)
            assert row["delay_samples"] == pytest.approx(0, abs=1e-3)
            assert row["null_db"] == pytest.approx(40, abs=0.5)
        at = STEMS.index(document["scores"][0]["stem"])
        bands = octave_snr_db(expected[at], actual[at], SAMPLE_RATE)
        assert [octave[2] for octave in document["scores"][0]["octaves"]] == pytest.approx(
            [band.snr_db for band in bands]
        )


def test_the_page_shows_them_and_the_verdict_is_what_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = song()
    sides = folder(tmp_path / "a", expected), folder(tmp_path / "b", -0.5 * expected)
    report = tmp_path / "report"
    assert main(["compare", *sides, "--scores", "--report", str(report)]) == 1
    assert "Scores, gating nothing" in capsys.readouterr().out
    run = Run.from_json((report / "run.json").read_text("utf-8"))
    assert [row.actual.gain for row in run.artefacts.scores] == pytest.approx([-0.5] * 4)
    assert all((row.actual.source_sdr_db or 0) > 100 for row in run.artefacts.scores)
    page = (report / "index.html").read_text("utf-8")
    assert 'id="scores"' in page
    assert "\N{MINUS SIGN}0.5000" in page
    assert main(["compare", *sides, "--report", str(report)]) == 1
    assert 'id="scores"' not in (report / "index.html").read_text("utf-8")


def test_what_cannot_be_scored_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "a.npz", freq=song()[0])
    one = str(tmp_path / "a.npz")
    left = folder(tmp_path / "left", song())
    right = folder(tmp_path / "right", song(samples=5000), 22_050)
    lone = str(tmp_path / "left" / "bass.wav")
    gone = tmp_path / "gone"
    folder(gone, song())
    (gone / "drums.wav").unlink()
    for pair, words in (
        ((one, one), "none is compared"),
        ((left, right), "stems of one rate and length can be scored"),
        ((lone, lone), "scores need at least 2 stems"),
        ((left, str(gone)), "drums.wav has no counterpart"),
    ):
        assert main(["compare", *pair, "--scores"]) == 2
        assert words in capsys.readouterr().err
