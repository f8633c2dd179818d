"""What a run keeps of stems and outputs so that the report can draw them.

In: expected and actual signals, float [channels, n], or stems [S, channels, n], at ``rate`` samples
per second, and the labels of a check (subject, case, recipe, engine, numerics). Out: rows of
`harness.verdicts.rows`.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import soundfile

from harness.layers import Tensors
from harness.metrics import (
    SeparationMetrics,
    channel_snr_db,
    diagnose,
    error_table,
    segmental_snr_db,
    snr_db,
    stretch_snr_db,
    ulp_statistics,
)
from harness.subjects import describe_subject
from harness.verdicts.rows.labelled import labels_of
from harness.verdicts.rows.packages import NetworkOutline, Stage
from harness.verdicts.rows.scores import Scores
from harness.verdicts.rows.signals import (
    AudioClip,
    ErrorCounts,
    Quality,
    Separation,
    StemPicture,
    StemTimeline,
)
from harness.workbench.predictions import Prediction
from harness.workbench.rasters import (
    LOW_HZ,
    Array,
    envelope,
    high_hz,
    raster,
    spectrogram_db,
)

Labels = Mapping[str, str]
Row = TypeVar("Row", Quality, Scores)

CLIP_S: Final = 2.0
_RANGE_DB: Final = 90.0
_LOUDEST: Final = 0.5
"""Peak of an amplified difference: half of full scale."""
_MOST_GAIN_DB: Final = 160.0


def outline_of(subject: str) -> NetworkOutline:
    """Return what figures name of a subject."""
    network = describe_subject(subject)
    stages = tuple(Stage(*stage) for stage in network.stages)
    return NetworkOutline(subject, network.sources, tuple(network.interface.outputs), stages)


def separation_rows(
    expected: Array,
    actual: Array,
    metrics: Sequence[SeparationMetrics],
    labels: Labels,
    *,
    rate: int,
) -> Iterator[Separation]:
    """Yield for each stem [C, n] what kind of error it has."""
    for index, row in enumerate(metrics):
        worst = segmental_snr_db(expected[index], actual[index], rate).worst
        channels = channel_snr_db(expected[index], actual[index])
        yield Separation(
            **labels_of(labels),
            stem=row.source,
            snr_db=snr_db(expected[index], actual[index]),
            channel_snr_db=tuple(channel.snr_db for channel in channels),
            worst_segment_snr_db=worst.snr_db if worst else None,
            worst_segment_s=worst.start / rate if worst else None,
            sdr_db=row.sdr_db,
            isr_db=row.isr_db,
            sir_db=row.sir_db,
            sar_db=row.sar_db,
            diagnosis=diagnose(row),
            note=row.reason or "",
        )


def rows_beside(
    row: Callable[..., Row], before: Sequence[Any], after: Sequence[Any], labels: Labels
) -> Iterator[Row]:
    """Yield for each stem a row of what PyTorch and the candidate reach: `Quality` or `Scores`."""
    for expected, found in zip(before, after, strict=True):
        yield row(**labels_of(labels), expected=expected, actual=found)


def timeline_rows(
    expected: Array, actual: Array, sources: Sequence[str], labels: Labels, *, rate: int
) -> Iterator[StemTimeline]:
    """Yield the SNR of every stem [S, C, n], second by second."""
    for index, stem in enumerate(sources):
        yield stem_timeline(expected[index], actual[index], stem, labels, rate=rate)


def count_rows(expected: Tensors, made: Prediction, labels: Labels) -> Iterator[ErrorCounts]:
    """Yield the errors of outputs and stems by size."""
    for tensor in made.results:
        yield error_counts(expected[tensor], made.tensors[tensor], tensor, labels)


def worst_stem(expected: Array, actual: Array) -> int:
    """Return the index of the stem with the lowest SNR."""
    return int(np.argmin([snr_db(one, other) for one, other in zip(expected, actual, strict=True)]))


def picture_row(
    expected: Array, actual: Array, sources: Sequence[str], labels: Labels, *, rate: int
) -> StemPicture:
    """Return the worst stem over time and frequency, with what is left over."""
    worst = worst_stem(expected, actual)
    return stem_picture(expected[worst], actual[worst], sources[worst], labels, rate=rate)


def stem_picture(
    expected: Array, actual: Array, stem: str, labels: Labels, *, rate: int
) -> StemPicture:
    """Return spectrograms and waveforms of a stem [C, n] and of what is left over."""
    rest = actual.astype(np.float64) - expected
    shown = [spectrogram_db(signal, rate) for signal in (expected, actual, rest)]
    top = max(float(shown[0].max()), -60.0)
    rest_top = float(np.nanmax(shown[2], initial=-280.0))  # NaN where the candidate is
    wave_peak, rest_peak = (float(np.abs(np.nan_to_num(s)).max()) for s in (expected, rest))
    wave_low, wave_high = envelope(expected, wave_peak)
    rest_low, rest_high = envelope(rest, rest_peak)
    ratio = snr_db(expected, actual)
    return StemPicture(
        **labels_of(labels),
        stem=stem,
        snr_db=None if math.isnan(ratio) else ratio,
        duration_s=round(expected.shape[-1] / rate, 3),
        low_hz=LOW_HZ,
        high_hz=high_hz(rate),
        reference=raster(shown[0], top - _RANGE_DB, top),
        candidate=raster(shown[1], top - _RANGE_DB, top),
        difference=raster(shown[2], rest_top - _RANGE_DB, rest_top),
        wave_peak=wave_peak,
        wave_low=wave_low,
        wave_high=wave_high,
        rest_peak=rest_peak,
        rest_low=rest_low,
        rest_high=rest_high,
    )


def stem_timeline(
    expected: Array, actual: Array, stem: str, labels: Labels, *, rate: int
) -> StemTimeline:
    """Return the SNR of a stem [C, n] second by second, of the worse channel."""
    channels: dict[int, list[float]] = {}
    length = rate
    for stretch in stretch_snr_db(expected, actual, rate):
        known = channels.setdefault(stretch.start, [])
        known += [] if stretch.snr_db is None else [stretch.snr_db]
        length = stretch.stop - stretch.start
    return StemTimeline(
        **labels_of(labels),
        stem=stem,
        stretch_s=length / rate,
        start_s=tuple(round(start / rate, 3) for start in channels),
        snr_db=tuple(_worst(levels) for levels in channels.values()),
    )


def error_counts(expected: Array, actual: Array, tensor: str, labels: Labels) -> ErrorCounts:
    """Return the errors of a tensor by magnitude, and its distances in float32 ulp."""
    table = error_table(expected, actual)
    ulp = ulp_statistics(expected, actual, dtype=np.float32)
    return ErrorCounts(
        **labels_of(labels),
        tensor=tensor,
        cells=tuple(
            (magnitude, error, count)
            for magnitude, row in zip(table.magnitude_exponents, table.counts, strict=True)
            for error, count in zip(table.error_exponents, row, strict=True)
            if count
        ),
        exact=table.exact_count,
        zero_errors=tuple(
            (error, count)
            for error, count in zip(table.error_exponents, table.zero_errors, strict=True)
            if count
        ),
        non_finite=table.non_finite,
        elements=int(expected.size),
        ulp_dtype=ulp.dtype,
        ulp_p50=ulp.p50,
        ulp_p99=ulp.p99,
        ulp_p999=ulp.p999,
        ulp_max=ulp.maximum,
    )


def audio_clip(
    expected: Array, actual: Array, stem: str, start_s: float, labels: Labels, *, rate: int
) -> AudioClip:
    """Return `CLIP_S` seconds of a stem [C, n] around ``start_s`` to be heard, as FLAC."""
    size = min(int(CLIP_S * rate), expected.shape[-1])
    start = min(int(start_s * rate), expected.shape[-1] - size)
    reference, candidate = (side[:, start : start + size] for side in (expected, actual))
    rest = np.nan_to_num(candidate.astype(np.float64) - reference)
    peak = float(np.abs(rest).max())
    gain_db = 0.0
    if peak > 0:
        gain_db = min(math.floor(20 * math.log10(_LOUDEST / peak)), _MOST_GAIN_DB)
    return AudioClip(
        **labels_of(labels),
        stem=stem,
        start_s=round(start / rate, 3),
        duration_s=round(size / rate, 3),
        media_type="audio/flac",
        reference=_flac(reference, rate),
        candidate=_flac(candidate, rate),
        difference=_flac(rest * 10 ** (gain_db / 20), rate),
        difference_gain_db=float(gain_db),
    )


def _flac(signal: Array, rate: int) -> str:
    stream = io.BytesIO()
    limited = np.clip(np.nan_to_num(signal), -1.0, 1.0).T
    soundfile.write(stream, limited, rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _worst(levels: list[float]) -> float | None:
    """Return the lowest level; NaN is lower than all."""
    if any(map(math.isnan, levels)):
        return math.nan
    return round(min(levels), 3) if levels else None
