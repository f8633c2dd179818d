"""Figures of stems and of the transform: views in, charts out.

In: view models of sounds and transforms. Out: `markupsafe.Markup` charts; each name starts the ids
of its figure and is unique within the page. Spectrograms are pictures inside a chart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from harness.report.chart import Chart, ticks
from harness.report.raster import source
from harness.report.text import shorten
from harness.report.units import db, dbfs
from harness.report.view_sound import extent_db, worst_stretch
from harness.verdicts import sortable
from harness.verdicts.rows.signals import (
    Raster,
    StemPicture,
    StemTimeline,
    TransformError,
    WindowSums,
)

_TITLES = {
    "reference": "what PyTorch made",
    "candidate": "what the package made",
    "difference": "the difference, on its own scale",
}


def spectrogram_figure(view: StemPicture, what: str, picture: Raster, name: str) -> Markup:
    """Draw a spectrogram with its axes; bands are spaced logarithmically."""
    low, high = math.log10(view.low_hz), math.log10(view.high_hz)
    chart = Chart((0.0, view.duration_s), (low, high), height=170)
    hertz = [(math.log10(f), label) for f, label in _OCTAVES if view.low_hz <= f <= view.high_hz]
    chart.axes(ticks(0, view.duration_s, 5), hertz, "seconds", f"Hz: {_TITLES.get(what, what)}")
    chart.image(source(picture))
    return chart.svg(
        name,
        f"Spectrogram of {view.stem}, {what}",
        f"Levels from {picture.low_db:.0f} dB (dark) to {picture.high_db:.0f} dB (yellow) re full "
        "scale.",
    )


_OCTAVES = ((100.0, "100"), (500.0, "500"), (2000.0, "2k"), (10_000.0, "10k"))


def timeline_figure(case: str, lines: Sequence[StemTimeline], name: str) -> Markup:
    """Draw the SNR of every stem in every second, stronger where it is lower."""
    extent = extent_db(lines)
    low, high = extent[0] if extent else (0.0, 1.0)
    end = max((at + line.stretch_s for line in lines for at in line.start_s), default=1.0)
    chart = Chart((0.0, end), (0.0, float(len(lines))), height=60 + 24 * len(lines), left=62)
    rows = [(len(lines) - place - 0.5, line) for place, line in enumerate(lines)]
    chart.axes(
        ticks(0, end, 8),
        [(up, shorten(line.stem, 9)) for up, line in rows],
        "seconds",
        shorten(case, 40),
    )
    cells = []
    for up, line in rows:
        drawn = 0.0  # the last stretch is moved back over the one before it
        for start, value in zip(line.start_s, line.snr_db, strict=True):
            left, drawn = max(start, drawn), min(start + line.stretch_s, end)
            if value is not None:
                level = low if math.isnan(value) else min(max(value, low), high)
                share = (high - level) / max(high - low, 1e-9)
                cells.append((left, drawn, up - 0.46, up + 0.46, 0.08 + 0.92 * share))
    chart.cells(cells, "fp32")
    words = "every stem is silent"
    found = [
        (sortable(line.snr_db[worst]), up, worst, line)
        for up, line in rows
        if (worst := worst_stretch(line)) is not None
    ]
    if found:
        _, up, place, line = min(found, key=lambda item: item[0])
        start = line.start_s[place]
        chart.ring(start + line.stretch_s / 2, up)
        words = (
            f"the worst second is that of {line.stem} at {start:.0f} s, {db(line.snr_db[place])}"
        )
    return chart.svg(
        name,
        f"SNR of every second, case {case}",
        f"{words}; the best has {db(high if extent else None)}.",
    )


def waveform_figure(view: StemPicture, name: str) -> Markup:
    """Draw a waveform, and under it the residual on a scale of its own."""
    chart = Chart((0.0, view.duration_s), (-3.2, 1.1), height=200)
    chart.axes(ticks(0, view.duration_s, 5), [(0.0, "0"), (-2.1, "0")], "seconds")
    for low, high, middle, colour in (
        (view.wave_low, view.wave_high, 0.0, "fp32"),
        (view.rest_low, view.rest_high, -2.1, "fp16"),
    ):
        if low:
            step = view.duration_s / len(low)
            places = [(place + 0.5) * step for place in range(len(low))]
            chart.band(
                [(x, middle + v / 1000) for x, v in zip(places, low, strict=True)],
                [(x, middle + v / 1000) for x, v in zip(places, high, strict=True)],
                colour,
            )
    apart = _level(view.rest_peak) if view.rest_peak > 0 else "exact"
    chart.note(0.0, 1.02, f" reference, peak {_level(view.wave_peak)}")
    chart.note(0.0, -1.2, f" residual, peak {apart}")
    return chart.svg(
        name,
        f"Waveform of {view.stem} and its residual",
        f"The reference peaks at {_level(view.wave_peak)}, the residual at {apart}.",
    )


def frequency_figure(view: TransformError, name: str) -> Markup:
    """Draw the error of a transform over frequency."""
    low, high = _span(view.by_frequency_db)
    chart = Chart((0.0, max(view.high_hz, 1.0)), (low, high), height=190)
    kilohertz = ticks(0, view.high_hz, 5, unit=1000)
    chart.axes(kilohertz, ticks(low, high, 5), "kHz", "RMS error, dB re RMS of the signal")
    pairs = list(zip(view.by_frequency_hz, view.by_frequency_db, strict=True))
    chart.line(pairs, "fp32")
    worst = max(pairs, key=lambda pair: pair[1], default=None)
    words = (
        f"the largest error is {db(worst[1])} at {worst[0]:.0f} Hz" if worst else "nothing known"
    )
    return chart.svg(
        name, f"{view.direction} error over frequency, {view.implementation}", f"{words}."
    )


def time_figure(view: TransformError, name: str) -> Markup:
    """Draw the error of a transform over time, and both ends of it enlarged."""
    levels = view.by_time_db
    low, high = _span(levels)
    chart = Chart((0.0, 100.0), (low, high), height=190)
    chart.axes(
        [],
        ticks(low, high, 5),
        "first frames | all frames | last frames",
        "RMS error, dB re RMS of the signal",
    )
    _stretch(chart, levels[:8], (0, 27), view.edge, 0)
    _stretch(chart, levels, (31, 69), 0, 0)
    _stretch(chart, levels[-8:], (73, 100), 0, view.edge)
    chart.upright(29, "", "grid")
    chart.upright(71, "", "grid")
    place = view.worst_block
    words = (
        f"the largest error is {db(levels[place])} in frame {place}"
        if place is not None
        else "nothing known"
    )
    return chart.svg(name, f"{view.direction} error over time, {view.implementation}", f"{words}.")


def _stretch(
    chart: Chart, levels: Sequence[float], where: tuple[float, float], first: int, last: int
) -> None:
    """Draw levels into a part of the axis; ``first`` and ``last`` blocks are those at the edge."""
    if not levels:
        return
    step = (where[1] - where[0]) / len(levels)
    places = [(where[0] + (place + 0.5) * step, level) for place, level in enumerate(levels)]
    if len(levels) > 40:
        chart.line(places, "fp32")
        return
    edge = {*range(first), *range(len(levels) - last, len(levels))}
    for colour, wanted in (("fp32", False), ("fp16", True)):
        bars = [
            (x - 0.4 * step, x + 0.4 * step, level)
            for place, (x, level) in enumerate(places)
            if (place in edge) is wanted
        ]
        chart.bars(bars, colour)


def error_figure(view: TransformError, picture: Raster, name: str) -> Markup:
    """Draw the error of a transform over frequency and time."""
    end = view.by_time_s[-1] if view.by_time_s else 1.0
    chart = Chart((0.0, end), (0.0, max(view.high_hz, 1.0)), height=190)
    chart.axes(ticks(0, end, 5), ticks(0, view.high_hz, 5, unit=1000), "seconds", "kHz")
    chart.image(source(picture))
    return chart.svg(
        name,
        f"{view.direction} error over frequency and time, {view.implementation}",
        f"From {picture.low_db:.0f} dB (dark) to {picture.high_db:.0f} dB (yellow) re RMS of the "
        "signal.",
    )


def cola_figure(view: WindowSums, name: str) -> Markup:
    """Draw how far the sums of windows stray from a constant over one hop."""
    values = [1e9 * value for value in (*view.cola_error, *view.square_error)] or [0.0]
    reach = max(max(map(abs, values)), 1e-6) * 1.15
    chart = Chart((0.0, float(max(view.hop_length, 1))), (-reach, reach), height=190)
    chart.axes(
        ticks(0, view.hop_length, 5),
        ticks(-reach, reach, 5),
        "sample within a hop",
        "error of the sum, parts in 10⁹",
    )
    for column, colour, dashed in (
        (view.cola_error, "fp32", False),
        (view.square_error, "fp16", True),
    ):
        step = view.hop_length / max(len(column), 1)
        chart.line(
            [((k + 0.5) * step, 1e9 * v) for k, v in enumerate(column)], colour, dashed=dashed
        )
    return chart.svg(
        name,
        f"Sum of windows over a hop, {view.window}",
        f"Windows add up to {view.cola_sum:.9g} with a ripple of {view.cola_ripple:.2g}, their "
        f"squares to {view.square_sum:.9g} with {view.square_ripple:.2g}.",
    )


def parseval_figure(view: WindowSums, name: str) -> Markup:
    """Draw the energy error of every frame."""
    frames = [(float(f), at) for f, at in enumerate(view.parseval_db) if at is not None]
    low, high = _span([level for _, level in frames])
    last = float(max(len(view.parseval_db) - 1, 1))
    chart = Chart((0.0, last), (low, high), height=190)
    chart.axes(
        ticks(0, last, 5), ticks(low, high, 5), "frame", "energy error, dB re energy of the frame"
    )
    chart.dots(frames, "fp32")
    return chart.svg(
        name,
        "Energy of frames before and after the transform",
        f"The largest error is {db(view.worst_parseval_db)}.",
    )


def _span(levels: Sequence[float]) -> tuple[float, float]:
    if not levels:
        return -160.0, -100.0
    return 10.0 * math.floor(min(levels) / 10.0), 10.0 * math.ceil(max(levels) / 10.0) + 1.0


def _level(peak: float) -> str:
    return dbfs(20 * math.log10(peak) if peak > 0 else -math.inf)
