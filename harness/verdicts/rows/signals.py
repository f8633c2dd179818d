"""What a run keeps of tensors, stems and transforms: statistics and small pictures, never tensors.

Pictures are rasters of levels; in text they are zlib-compressed bytes in Base64, a byte for each
pixel, row by row from the top. SNR is ``inf`` where two tensors are identical. A row that doesn't
fit together is refused when it is made: a reader can draw every row that it is given.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Literal

from harness.errors import RunError
from harness.verdicts.jsondata import Count, Finite, Limits
from harness.verdicts.rows.labelled import Labelled

MOST_PIXELS: Final = 1 << 18
MOST_COLUMNS: Final = 2000
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")

Exponent = Annotated[int, Limits(-1100, 1100)]
"""Of two, as float64 has them."""
Positive = Annotated[float, Limits(5e-324)]
Outline = Annotated[tuple[int, ...], Limits(0, MOST_COLUMNS)]


@dataclass(frozen=True)
class ErrorCounts(Labelled):
    """How many elements of a tensor have a magnitude in one bin and an error in another.

    A bin of exponent k holds values from 2^k up to, not including, 2^(k + 1).

    Attributes:
        tensor: what was compared.
        cells: magnitude exponent, error exponent, elements; neither is zero there.
        exact: elements without any error.
        zero_errors: error exponent, elements: those that should be zero.
        non_finite: elements where a side is not finite.
        elements: all of them.
        ulp_dtype, ulp_p50, ulp_p99, ulp_p999, ulp_max: distances in units in the last place.
    """

    tensor: str
    cells: tuple[tuple[Exponent, Exponent, Count], ...]
    exact: Count
    zero_errors: tuple[tuple[Exponent, Count], ...]
    non_finite: Count
    elements: Annotated[int, Limits(1)]
    ulp_dtype: str
    ulp_p50: Count
    ulp_p99: Count
    ulp_p999: Count
    ulp_max: Count


@dataclass(frozen=True)
class Raster:
    """A picture of levels.

    Attributes:
        rows, columns: of pixels.
        low_db, high_db: levels of code 0 (and under it) and of the highest code (and over it).
        levels: number of codes.
        pixels: the codes, as the module says.
    """

    rows: Annotated[int, Limits(1, MOST_PIXELS)]
    columns: Annotated[int, Limits(1, MOST_PIXELS)]
    low_db: Finite
    high_db: Finite
    levels: Annotated[int, Limits(2, 256)]
    pixels: str

    def __post_init__(self) -> None:
        size = self.rows * self.columns
        if size > MOST_PIXELS:
            raise RunError(f"a picture has {size:,} pixels, expected at most {MOST_PIXELS:,}")
        if len(self.codes) != size or max(self.codes) >= self.levels:
            raise RunError(
                f"a picture's pixels are not {self.rows} x {self.columns} codes under {self.levels}"
            )

    @cached_property
    def codes(self) -> bytes:
        """The code of each pixel; nothing is unpacked beyond the picture's size."""
        try:
            packed = base64.b64decode(self.pixels, validate=True)
            return zlib.decompressobj().decompress(packed, self.rows * self.columns + 1)
        except (binascii.Error, ValueError, zlib.error):
            return b""


@dataclass(frozen=True)
class StemPicture(Labelled):
    """One stem as a reader can see it: spectrograms, and the waveform with what is left over.

    Attributes:
        low_hz, high_hz: of the spectrograms, whose rows are spaced logarithmically.
        reference, candidate, difference: in dB; 0 is a sine of full scale.
        wave_low, wave_high: least and greatest sample of both channels in each column, in
            thousandths of ``wave_peak``.
        rest_low, rest_high: the same of the difference, in thousandths of ``rest_peak``.
    """

    stem: str
    snr_db: float | None
    duration_s: Finite
    low_hz: Positive
    high_hz: Positive
    reference: Raster
    candidate: Raster
    difference: Raster
    wave_peak: Finite
    wave_low: Outline
    wave_high: Outline
    rest_peak: Finite
    rest_low: Outline
    rest_high: Outline

    def __post_init__(self) -> None:
        if not self.low_hz < self.high_hz:
            raise RunError(
                f"a spectrogram ends at {self.high_hz:g} Hz and begins at {self.low_hz:g} Hz"
            )
        _alike(self, "wave_low", "wave_high")
        _alike(self, "rest_low", "rest_high")


@dataclass(frozen=True)
class StemTimeline(Labelled):
    """The SNR of a stem, stretch by stretch.

    Attributes:
        stretch_s: how long a stretch is; the last one is moved back to end with the signal.
        start_s: of each stretch.
        snr_db: of the worse channel; null where the reference is silent.
    """

    stem: str
    stretch_s: Finite
    start_s: tuple[Finite, ...]
    snr_db: tuple[float | None, ...]

    def __post_init__(self) -> None:
        _alike(self, "start_s", "snr_db")


@dataclass(frozen=True)
class AudioClip(Labelled):
    """The worst moment of a stem to be heard.

    Attributes:
        start_s, duration_s: where the excerpt is.
        media_type: of the three sounds.
        reference, candidate, difference: files in Base64.
        difference_gain_db: by how much the difference is amplified.
    """

    stem: str
    start_s: Finite
    duration_s: Finite
    media_type: Literal["audio/flac", "audio/wav", "audio/ogg"]
    reference: str
    candidate: str
    difference: str
    difference_gain_db: Finite

    def __post_init__(self) -> None:
        for name in ("reference", "candidate", "difference"):
            if not _BASE64.issuperset(getattr(self, name)):
                raise RunError(f"a clip's {name} is no Base64")


@dataclass(frozen=True)
class Separation(Labelled):
    """How close a separated stem is to the original's, and what kind of error is left.

    Attributes:
        channel_snr_db: of the left and the right channel.
        worst_segment_snr_db, worst_segment_s: of the second with the lowest SNR, and its start.
        sdr_db, isr_db, sir_db, sar_db: as in `harness.metrics.separation`.
        diagnosis: the kind of error in words.
        note: why a ratio could not be computed.
    """

    stem: str
    snr_db: float | None
    channel_snr_db: tuple[float | None, ...]
    worst_segment_snr_db: float | None
    worst_segment_s: float | None
    sdr_db: float | None
    isr_db: float | None
    sir_db: float | None
    sar_db: float | None
    diagnosis: str
    note: str


def _certain(ratio_db: float) -> float:
    """Return how much of a change of a ratio says something of what is separated."""
    return 1.0 if ratio_db == -math.inf else min(1.0, float(10 ** ((ratio_db + 20) / 20)))


@dataclass(frozen=True)
class StemQuality:
    """How well a stem is separated, against what was really mixed; NaN where that can't be had.

    Attributes:
        stem: name of the source.
        si_sdr_db: scale-invariant SDR.
        si_sdr_gain_db: how much of that the mixture itself doesn't have.
        sdr_db, isr_db, sir_db, sar_db: as in `harness.metrics.separation`.
    """

    stem: str
    si_sdr_db: float
    si_sdr_gain_db: float
    sdr_db: float
    isr_db: float
    sir_db: float
    sar_db: float

    def moved_db(self, other: StemQuality) -> float:
        """Return by how much SI-SDR or SDR differs, whichever more; NaN if one is NaN.

        Where less than a hundredth of a stem's energy is the source (-20 dB), whatever is added to
        it moves the ratio by as much more as there is less of the source: that is left out.
        """
        pairs = (self.si_sdr_db, other.si_sdr_db), (self.sdr_db, other.sdr_db)
        moved = [abs(before - after) * _certain(before) for before, after in pairs]
        return math.nan if any(map(math.isnan, moved)) else max(moved)


@dataclass(frozen=True)
class Quality(Labelled):
    """The quality of a stem that PyTorch separated (expected) and that the package did (actual)."""

    expected: StemQuality
    actual: StemQuality

    @property
    def stem(self) -> str:
        """Name of the source."""
        return self.expected.stem


@dataclass(frozen=True)
class TransformError:
    """How far a transform is from its reference, over frequency and over time.

    Attributes:
        direction: ``forward`` or ``round trip``.
        implementation, reference, signal: what was compared on what, in words.
        snr_db: of everything.
        picture: error by frequency (linear, the highest at the top) and frame, in dB relative to
            the reference's RMS; null where there is no frequency.
        high_hz: of the picture.
        by_frequency_hz, by_frequency_db: RMS error in bands, relative to the reference's RMS.
        by_time_s, by_time_db: RMS error in each frame or block, relative to the reference's RMS.
        edge: how many blocks at each end reach beyond the signal.
    """

    direction: str
    implementation: str
    reference: str
    signal: str
    snr_db: float | None
    picture: Raster | None
    high_hz: Finite
    by_frequency_hz: tuple[Finite, ...]
    by_frequency_db: tuple[Finite, ...]
    by_time_s: tuple[Finite, ...]
    by_time_db: tuple[Finite, ...]
    edge: Count

    def __post_init__(self) -> None:
        _alike(self, "by_frequency_hz", "by_frequency_db")
        _alike(self, "by_time_s", "by_time_db")
        if self.edge > len(self.by_time_db):
            raise RunError(f"a transform has {self.edge} blocks at its edge, more than all")

    @property
    def worst_block(self) -> int | None:
        """The place of the block with the largest error."""
        places = range(len(self.by_time_db))
        return max(places, key=lambda place: self.by_time_db[place], default=None)


@dataclass(frozen=True)
class WindowSums:
    """Whether a window fits its hop, and whether frames keep their energy.

    Attributes:
        window: in words.
        n_fft, hop_length: in samples.
        cola_sum, cola_ripple: sum of the windows over a hop, and how far it strays, relative.
        square_sum, square_ripple: the same of their squares.
        cola_error, square_error: sums over one hop less their closed form, relative to it.
        parseval_signal: what the frames were made of.
        parseval_db: by frame, the energy error relative to the frame's energy; null in silence.
    """

    window: str
    n_fft: Count
    hop_length: Count
    cola_sum: float
    cola_ripple: float
    square_sum: float
    square_ripple: float
    cola_error: tuple[Finite, ...]
    square_error: tuple[Finite, ...]
    parseval_signal: str
    parseval_db: tuple[Finite | None, ...]

    @property
    def worst_parseval_db(self) -> float | None:
        """The largest energy error of a frame."""
        return max((level for level in self.parseval_db if level is not None), default=None)


def _alike(row: object, one: str, other: str) -> None:
    """Check that two columns of a row have one length.

    Raises:
        RunError: they have not.
    """
    columns: list[Sized] = [getattr(row, name) for name in (one, other)]
    sizes = [len(column) for column in columns]
    if sizes[0] != sizes[1]:
        raise RunError(f"{one} has {sizes[0]} numbers and {other} has {sizes[1]}")
