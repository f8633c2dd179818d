"""Scores as they are published: equal to museval's and mir_eval's, from one factorisation."""

from __future__ import annotations

import math
import warnings

import mir_eval.separation
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ParityError
from harness.metrics import (
    FramewiseMetrics,
    ReferenceProjection,
    framewise_metrics,
    separation_metrics,
    source_metrics,
)
from harness.subjects.songs import make_song
from suites.selftest.metrics.published import museval_metrics

Array = npt.NDArray[np.float64]
RATIOS = ("sdr_db", "isr_db", "sir_db", "sar_db")
RATE = 44_100


def track(seed: int, seconds: float = 3.0, sources: int = 2) -> tuple[Array, Array]:
    """Stems of a generated song over a noise floor of -80 dBFS, and a separation of them: leakage,
    a delay, an equaliser and noise. Without the floor the songs' Gram matrix is singular, and
    museval's ratios are rounding errors."""
    rng = np.random.default_rng(seed)
    stems = make_song(seed, seconds).stems
    loud = np.argsort([-float(np.square(stem).sum()) for stem in stems])[:sources]
    references = stems[np.sort(loud)] + 1e-4 * rng.standard_normal((sources, 2, stems.shape[-1]))
    estimates = references + 0.1 * references[::-1]
    estimates[0] += 0.05 * np.roll(references[0], 3, axis=-1)
    estimates[1, :, 1:] -= 0.2 * references[1, :, :-1]
    estimates += 0.003 * rng.standard_normal(references.shape)
    return references, estimates


def museval(references: Array, estimates: Array, **options: object) -> list[Array]:
    rows = [side.transpose(0, 2, 1) for side in (references, estimates)]
    return list(museval_metrics().bss_eval(*rows, **options)[:4])


def numbers(values: tuple[float | None, ...]) -> list[float]:
    return [math.nan if value is None else value for value in values]


@pytest.mark.parametrize(
    "seed",
    [*range(3), *(pytest.param(seed, marks=pytest.mark.exhaustive) for seed in range(3, 10))],
)
def test_medians_and_windows_are_those_of_museval(seed: int) -> None:
    references, estimates = track(seed)
    theirs = museval(references, estimates, window=RATE, hop=RATE)
    for j, ours in enumerate(framewise_metrics(references, estimates)):
        for ratio, their in zip(RATIOS, theirs, strict=True):
            assert len(their[j]) == 3
            assert numbers(getattr(ours, ratio)) == pytest.approx(their[j], abs=1e-6)
            assert ours.median_db(ratio) == pytest.approx(np.nanmedian(their[j]), abs=1e-6)


@pytest.mark.parametrize(("window", "hop", "samples"), [(4000, 3000, 17_999), (9000, 9000, 8000)])
def test_windows_may_overlap_or_be_longer_than_the_track(
    window: int, hop: int, samples: int
) -> None:
    references, estimates = (side[..., -samples:] for side in track(1))
    theirs = museval(references, estimates, window=window, hop=hop)
    ours = framewise_metrics(references, estimates, window=window, hop=hop)
    for j, row in enumerate(ours):
        for ratio, their in zip(RATIOS, theirs, strict=True):
            assert numbers(getattr(row, ratio)) == pytest.approx(their[j], abs=1e-6)


@pytest.mark.parametrize("factors", [(1.0, np.nan), (0.0, 1.0)])
def test_where_no_stem_can_be_measured_each_has_a_reason(factors: tuple[float, float]) -> None:
    references, estimates = track(1, 2.0)
    reference, estimate = factors
    found = framewise_metrics(
        references * reference, estimates * estimate, window=RATE, hop=RATE, filter_length=16
    )
    reason = "not finite" if np.isnan(estimate) else "the reference is silent"
    assert all(reason in (stem.reason or "") for stem in found)


@pytest.mark.parametrize("silent", ["reference", "estimate", "anti-phase"])
def test_a_window_in_which_a_stem_is_silent_counts_for_none(silent: str) -> None:
    references, estimates = track(2)
    side = estimates if silent == "estimate" else references
    side[1, :, RATE : 2 * RATE] = 0
    if silent == "anti-phase":
        wave = np.random.default_rng(0).standard_normal(RATE)
        side[1, :, RATE : 2 * RATE] = 0.1 * wave, -0.1 * wave
    theirs = museval(references, estimates, window=RATE, hop=RATE)
    for j, row in enumerate(framewise_metrics(references, estimates)):
        assert row.sdr_db[1] is None
        assert None not in (row.sdr_db[0], row.sdr_db[2])
        for ratio, their in zip(RATIOS, theirs, strict=True):
            assert numbers(getattr(row, ratio)) == pytest.approx(their[j], abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_bss_eval_sources_is_that_of_mir_eval(seed: int) -> None:
    references, estimates = (side[:, 0, :RATE] for side in track(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, removal announced for 0.9
        theirs = mir_eval.separation.bss_eval_sources(
            references, estimates, compute_permutation=False
        )
    ours = source_metrics(references[:, None], estimates[:, None])
    for j, row in enumerate(ours):
        got = [row.sdr_db, row.sir_db, row.sar_db]
        assert np.isfinite([their[j] for their in theirs[:3]]).all()
        assert got == pytest.approx([their[j] for their in theirs[:3]], abs=1e-6)


def test_bss_eval_sources_of_stereo_stems_is_that_of_museval() -> None:
    references, estimates = (side[..., :RATE] for side in track(4))
    options = {"window": np.inf, "hop": np.inf, "bsseval_sources_version": True}
    sdr, _, sir, sar = museval(references, estimates, **options)
    for j, row in enumerate(source_metrics(references, estimates)):
        got = [row.sdr_db, row.sir_db, row.sar_db]
        assert got == pytest.approx([sdr[j, 0], sir[j, 0], sar[j, 0]], abs=1e-6)


def test_bss_eval_sources_forgives_a_gain_which_is_why_it_is_no_gate() -> None:
    references, _ = (side[..., :20_000] for side in track(5))
    rows = source_metrics(references, -0.5 * references)
    assert all(row.sdr_db is not None and row.sdr_db > 200 for row in rows)
    assert separation_metrics(references, -0.5 * references)[0].sdr_db == pytest.approx(
        -3.52, abs=0.01
    )


@settings(deadline=None, derandomize=True, max_examples=10)
@given(st.integers(0, 99), st.floats(0, 6))
def test_one_window_is_the_whole_and_moves_with_the_error(seed: int, depth: float) -> None:
    rng = np.random.default_rng(seed)
    references = rng.standard_normal((2, 2, 3000))
    error = 1e-3 * (references[::-1] + rng.standard_normal(references.shape))
    projection = ReferenceProjection(references, filter_length=16)
    estimates = references + 10**-depth * error
    whole = separation_metrics(projection, estimates)
    for row, one in zip(whole, framewise_metrics(projection, estimates, window=3000), strict=True):
        for ratio in RATIOS:
            assert getattr(one, ratio) == pytest.approx((getattr(row, ratio),), abs=1e-6)


def test_a_silent_stem_is_left_out_and_identical_ones_are_exact() -> None:
    references = np.random.default_rng(0).standard_normal((3, 2, 3000))
    references[1] = 0
    rows = framewise_metrics(references, references.copy(), window=1000, hop=1000, filter_length=8)
    assert rows[1] == FramewiseMetrics("1", reason="the reference is silent")
    assert rows[1].median_db("sdr_db") is None
    assert rows[0].sdr_db == (math.inf,) * 3
    assert rows[2].median_db("sar_db") == math.inf
    sources = source_metrics(references, 0 * references, filter_length=8)
    assert [row.reason for row in sources] == [
        "the estimate is silent: it has no target",
        "the reference is silent",
        "the estimate is silent: it has no target",
    ]


@pytest.mark.parametrize(("window", "hop"), [(0, 10), (10, 0)])
def test_windows_without_samples_are_refused(window: int, hop: int) -> None:
    references = np.ones((2, 1, 50))
    with pytest.raises(ParityError, match="must be at least 1 sample"):
        framewise_metrics(references, references, window=window, hop=hop, filter_length=4)
    with pytest.raises(ParityError, match="no ratio is called sxr_db"):
        FramewiseMetrics("0").median_db("sxr_db")
