"""The numbers that the network and everything around it agree on.

They are those of the published HTDemucs models: 44.1 kHz stereo, segments of 7.8 s, and an STFT of
4096 points every 1024 samples whose Nyquist bin is dropped. A complex spectrogram travels as
channels [left real, left imaginary, right real, right imaginary].

=============  ============================================  =======
tensor         shape                                         dtype
=============  ============================================  =======
spectrogram    [1, 4, 2048, 336]                             float32
audio          [1, 2, 343980]                                float32
freq           [1, sources, 4, 2048, 336]                    float32
time           [1, sources, 2, 343980]                       float32
=============  ============================================  =======
"""

from __future__ import annotations

from typing import Final

SAMPLE_RATE: Final = 44_100
"""Samples per second."""
CHANNELS: Final = 2
N_FFT: Final = 4096
HOP_LENGTH: Final = 1024
SEGMENT_LENGTH: Final = 343_980
"""Samples in one segment: 39/5 s."""
SEGMENT_OVERLAP: Final = 44_100
"""Samples that neighbouring segments share."""
FREQUENCY_BINS: Final = N_FFT // 2
FRAMES: Final = -(-SEGMENT_LENGTH // HOP_LENGTH)
SPECTROGRAM_SHAPE: Final = (1, 2 * CHANNELS, FREQUENCY_BINS, FRAMES)
AUDIO_SHAPE: Final = (1, CHANNELS, SEGMENT_LENGTH)
