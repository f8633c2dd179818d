"""All that stands around the network: transforms, segments, audio files.

The numbers of the model contract are here, without torch or libsndfile; the rest is in modules:

- `files`, `writers`: audio files in and out;
- `stft`: the transform pair (torch; all other arrays are NumPy), `windows` that add up;
- `segments`: a song in overlapping pieces, and back.
"""

from harness.audio.contract import (
    FRAMES,
    FREQUENCY_BINS,
    HOP_LENGTH,
    N_FFT,
    PUBLISHED,
    SAMPLE_RATE,
    SEGMENT_LENGTH,
    SEGMENT_OVERLAP,
    Geometry,
)

__all__ = [
    "FRAMES",
    "FREQUENCY_BINS",
    "HOP_LENGTH",
    "N_FFT",
    "PUBLISHED",
    "SAMPLE_RATE",
    "SEGMENT_LENGTH",
    "SEGMENT_OVERLAP",
    "Geometry",
]
