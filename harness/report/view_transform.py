"""View models of the transform: where its error is, and whether windows and energy add up.

In: the ``transform_error`` and ``window_sums`` rows of a run. Out: views with levels in dB relative
to the reference's RMS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.report.raster import Picture, picture
from harness.report.reading import Row, as_number, number, rows, sequence, text, whole
from harness.verdicts import Run
from harness.verdicts.artefacts import VERSION

Levels = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TransformView:
    """The error of one implementation.

    Attributes:
        by_frequency: (Hz, dB).
        by_time: (seconds, dB), one for each frame or block.
        edge: how many blocks at each end reach beyond the signal.
    """

    direction: str
    implementation: str
    reference: str
    signal: str
    snr_db: float | None
    picture: Picture | None
    high_hz: float
    by_frequency: Levels
    by_time: Levels
    edge: int

    @property
    def worst_block(self) -> int | None:
        """The place of the block with the largest error."""
        places = range(len(self.by_time))
        return max(places, key=lambda place: self.by_time[place][1], default=None)


@dataclass(frozen=True)
class WindowView:
    """COLA of one window, and Parseval frame by frame."""

    window: str
    n_fft: int
    hop_length: int
    cola_sum: float
    cola_ripple: float
    square_sum: float
    square_ripple: float
    cola_error: tuple[float, ...]
    square_error: tuple[float, ...]
    signal: str
    parseval: Levels

    @property
    def worst_parseval_db(self) -> float | None:
        """The largest energy error of a frame."""
        return max((level for _, level in self.parseval), default=None)


def transform_views(run: Run) -> tuple[TransformView, ...]:
    """Return a view for each measured transform."""
    mine = (row for row in rows(run, "transform_error") if whole(row, "version") == VERSION)
    return tuple(_view(row) for row in mine)


def window_views(run: Run) -> tuple[WindowView, ...]:
    """Return a view for each window."""
    mine = (row for row in rows(run, "window_sums") if whole(row, "version") == VERSION)
    return tuple(_window(row) for row in mine)


def _view(row: Row) -> TransformView:
    by_time = _pairs(row, "by_time_s", "by_time_db")
    return TransformView(
        direction=text(row, "direction"),
        implementation=text(row, "implementation"),
        reference=text(row, "reference"),
        signal=text(row, "signal"),
        snr_db=number(row, "snr_db"),
        picture=picture(row.get("picture")),
        high_hz=number(row, "high_hz") or 0.0,
        by_frequency=_pairs(row, "by_frequency_hz", "by_frequency_db"),
        by_time=by_time,
        edge=min(max(whole(row, "edge") or 0, 0), len(by_time)),
    )


def _window(row: Row) -> WindowView:
    levels = [as_number(value) for value in sequence(row.get("parseval_db"))]
    return WindowView(
        window=text(row, "window"),
        n_fft=whole(row, "n_fft") or 0,
        hop_length=whole(row, "hop_length") or 0,
        cola_sum=_number(row, "cola_sum"),
        cola_ripple=_number(row, "cola_ripple"),
        square_sum=_number(row, "square_sum"),
        square_ripple=_number(row, "square_ripple"),
        cola_error=_column(row, "cola_error"),
        square_error=_column(row, "square_error"),
        signal=text(row, "parseval_signal"),
        parseval=tuple(
            (float(frame), level)
            for frame, level in enumerate(levels)
            if level is not None and math.isfinite(level)
        ),
    )


def _number(row: Row, key: str) -> float:
    value = number(row, key)
    return math.nan if value is None else value


def _column(row: Row, key: str) -> tuple[float, ...]:
    values = [as_number(value) for value in sequence(row.get(key))]
    return tuple(value for value in values if value is not None and math.isfinite(value))


def _pairs(row: Row, across: str, up: str) -> Levels:
    places = [as_number(value) for value in sequence(row.get(across))]
    levels = [as_number(value) for value in sequence(row.get(up))]
    return tuple(
        (place, level)
        for place, level in zip(places, levels, strict=False)
        if place is not None and level is not None and math.isfinite(place + level)
    )
