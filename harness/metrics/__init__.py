"""Numbers that say how far a candidate tensor or stem is from the expected one.

Pure functions of arrays: real NumPy arrays in (any float type; computed in float64), plain Python
numbers in frozen dataclasses out. Nothing here knows tolerances by name, engines or files. Shapes
must be equal, nothing is broadcast, and no epsilon is added to any ratio.

- tensors: :func:`snr_db`, :func:`compute_numerical_diff`, :func:`ulp_statistics`,
  :func:`error_table`
- audio: :func:`channel_snr_db`, :func:`segmental_snr_db`, :func:`stretch_snr_db`
- levels and silence: :func:`rms`, :func:`dbfs`, :func:`is_silent`, ``SILENCE_DBFS``,
  ``SILENT_ERROR_DBFS``
- separated stems: :func:`separation_metrics`, :class:`ReferenceProjection`, :func:`si_sdr_db`,
  :func:`diagnose`
- stems as they are published: :func:`framewise_metrics`, :func:`source_metrics`
- beside them: :func:`octave_snr_db`, :func:`log_spectral_distance_db`, :func:`alignment`,
  :func:`mixture_null`
"""

from __future__ import annotations

from harness.metrics.alignment import Alignment, alignment
from harness.metrics.bands import BandSnr, log_spectral_distance_db, octave_snr_db
from harness.metrics.diagnosis import diagnose
from harness.metrics.framewise import FramewiseMetrics, framewise_metrics
from harness.metrics.histograms import error_table
from harness.metrics.levels import SILENCE_DBFS, SILENT_ERROR_DBFS, dbfs, is_silent, rms
from harness.metrics.mixture import mixture_null
from harness.metrics.projection import LOADING, ReferenceProjection
from harness.metrics.segments import (
    StretchSnr,
    channel_snr_db,
    segmental_snr_db,
    stretch_snr_db,
)
from harness.metrics.separation import (
    SeparationMetrics,
    separation_metrics,
    si_sdr_db,
    source_metrics,
)
from harness.metrics.tensor import ValidationMetrics, compute_numerical_diff, snr_db
from harness.metrics.ulp import ulp_statistics

__all__ = [
    "LOADING",
    "SILENCE_DBFS",
    "SILENT_ERROR_DBFS",
    "Alignment",
    "BandSnr",
    "FramewiseMetrics",
    "ReferenceProjection",
    "SeparationMetrics",
    "StretchSnr",
    "ValidationMetrics",
    "alignment",
    "channel_snr_db",
    "compute_numerical_diff",
    "dbfs",
    "diagnose",
    "error_table",
    "framewise_metrics",
    "is_silent",
    "log_spectral_distance_db",
    "mixture_null",
    "octave_snr_db",
    "rms",
    "segmental_snr_db",
    "separation_metrics",
    "si_sdr_db",
    "snr_db",
    "source_metrics",
    "stretch_snr_db",
    "ulp_statistics",
]
