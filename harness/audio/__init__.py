"""All that stands around the network: transforms, segments, audio files.

Names are imported on first use, so that the constants come without torch or libsndfile.
Arrays are NumPy, except in the transform pair of :mod:`harness.audio.stft`, which is torch (its
``stft`` and ``istft`` are imported from there: ``harness.audio.stft`` names the module).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from harness.audio.contract import (
    AUDIO_SHAPE,
    CHANNELS,
    FRAMES,
    FREQUENCY_BINS,
    HOP_LENGTH,
    N_FFT,
    PUBLISHED,
    SAMPLE_RATE,
    SEGMENT_LENGTH,
    SEGMENT_OVERLAP,
    SPECTROGRAM_SHAPE,
    Geometry,
)

if TYPE_CHECKING:
    from harness.audio.files import AudioReader, read_audio
    from harness.audio.reference_stft import reference_spectrogram, reference_waveform
    from harness.audio.segments import (
        Predict,
        Segment,
        SegmentPlan,
        crossfade,
        plan_segments,
        separate_stream,
    )
    from harness.audio.stft import (
        frame_count,
        spectrogram_from_waveform,
        waveform_from_spectrogram,
    )
    from harness.audio.windows import OverlapSum, cola, nola
    from harness.audio.writers import AudioWriter, StemWriter

_MODULES = {
    "files": ("AudioReader", "read_audio"),
    "reference_stft": ("reference_spectrogram", "reference_waveform"),
    "segments": (
        "Predict",
        "Segment",
        "SegmentPlan",
        "crossfade",
        "plan_segments",
        "separate_stream",
    ),
    "stft": ("frame_count", "spectrogram_from_waveform", "waveform_from_spectrogram"),
    "windows": ("OverlapSum", "cola", "nola"),
    "writers": ("AudioWriter", "StemWriter"),
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AUDIO_SHAPE",
    "CHANNELS",
    "FRAMES",
    "FREQUENCY_BINS",
    "HOP_LENGTH",
    "N_FFT",
    "PUBLISHED",
    "SAMPLE_RATE",
    "SEGMENT_LENGTH",
    "SEGMENT_OVERLAP",
    "SPECTROGRAM_SHAPE",
    "AudioReader",
    "AudioWriter",
    "Geometry",
    "OverlapSum",
    "Predict",
    "Segment",
    "SegmentPlan",
    "StemWriter",
    "cola",
    "crossfade",
    "frame_count",
    "nola",
    "plan_segments",
    "read_audio",
    "reference_spectrogram",
    "reference_waveform",
    "separate_stream",
    "spectrogram_from_waveform",
    "waveform_from_spectrogram",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
