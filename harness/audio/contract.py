"""The numbers that the network and everything around it agree on.

They differ from network to network: a `Geometry` holds those of one, and whatever stands around the
network takes them from it. `PUBLISHED` is that of the published HTDemucs models, and the default
everywhere: 44.1 kHz stereo, segments of 7.8 s, and an STFT of 4096 points every 1024 samples whose
Nyquist bin is dropped. A complex spectrogram travels as channels [left real, left imaginary, right
real, right imaginary]; a mono one as [real, imaginary].

=============  ============================================  =======
tensor         shape of the published models                 dtype
=============  ============================================  =======
spectrogram    [1, 4, 2048, 336]                             float32
audio          [1, 2, 343980]                                float32
freq           [1, sources, 4, 2048, 336]                    float32
time           [1, sources, 2, 343980]                       float32
=============  ============================================  =======
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Geometry:
    """The sizes of one network's inputs, and the sound that they stand for.

    Attributes:
        sample_rate: samples per second.
        channels: audio channels.
        n_fft: points of the STFT, a multiple of 8.
        segment_length: samples in one segment.
    """

    sample_rate: int
    channels: int
    n_fft: int
    segment_length: int

    @property
    def hop_length(self) -> int:
        """Samples from one frame of the STFT to the next: a quarter of a frame, as in Demucs."""
        return self.n_fft // 4

    @property
    def frequency_bins(self) -> int:
        """Bins that the network sees: all but the Nyquist bin."""
        return self.n_fft // 2

    @property
    def frames(self) -> int:
        """Frames of a segment."""
        return -(-self.segment_length // self.hop_length)

    @property
    def overlap(self) -> int:
        """Samples that neighbouring segments share: one second, at most a quarter of a segment."""
        return min(self.sample_rate, self.segment_length // 4)

    @property
    def cuts(self) -> dict[str, int]:
        """How a longer signal is cut, as arguments of `harness.audio.segments.separate_stream`."""
        return {
            "segment_length": self.segment_length,
            "overlap": self.overlap,
            "channels": self.channels,
        }

    @property
    def spectrogram_shape(self) -> tuple[int, int, int, int]:
        """Shape of the input ``spectrogram``."""
        return (1, 2 * self.channels, self.frequency_bins, self.frames)

    @property
    def audio_shape(self) -> tuple[int, int, int]:
        """Shape of the input ``audio``."""
        return (1, self.channels, self.segment_length)


PUBLISHED: Final = Geometry(sample_rate=44_100, channels=2, n_fft=4096, segment_length=343_980)
"""That of the published models; a segment is 39/5 s."""

SAMPLE_RATE: Final = PUBLISHED.sample_rate
CHANNELS: Final = PUBLISHED.channels
N_FFT: Final = PUBLISHED.n_fft
HOP_LENGTH: Final = PUBLISHED.hop_length
SEGMENT_LENGTH: Final = PUBLISHED.segment_length
SEGMENT_OVERLAP: Final = PUBLISHED.overlap
FREQUENCY_BINS: Final = PUBLISHED.frequency_bins
FRAMES: Final = PUBLISHED.frames
