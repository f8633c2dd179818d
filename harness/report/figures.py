"""The figures that templates draw by name: ``figures.along(series, "along-1")``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from markupsafe import Markup

from harness.report import figures_precision as precision
from harness.report import figures_sound as sound

FIGURES: Final[Mapping[str, Callable[..., Markup]]] = {
    "along": precision.along_figure,
    "taps": precision.taps_figure,
    "local": precision.local_figure,
    "range": precision.range_figure,
    "histogram": precision.histogram_figure,
    "magnitude": precision.magnitude_figure,
    "shares": precision.shares_figure,
    "pareto": precision.pareto_figure,
    "timeline": sound.timeline_figure,
    "spectrogram": sound.spectrogram_figure,
    "waveform": sound.waveform_figure,
    "frequency": sound.frequency_figure,
    "time": sound.time_figure,
    "error_picture": sound.error_picture,
    "cola": sound.cola_figure,
    "parseval": sound.parseval_figure,
}
