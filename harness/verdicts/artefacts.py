"""What a run keeps for figures: the rows of ``artefacts`` by kind, each with its fields.

Every class is one kind of row; `ARTEFACTS` names them, and the published schema of run documents is
derived from them. Rows hold statistics and pictures, never tensors, and are bounded in size. A
reader that finds a row of another ``version`` leaves it alone.

Pictures are rasters of levels; in text they are zlib-compressed bytes in Base64, a byte for each
pixel, row by row from the top. SNR is ``inf`` where two tensors are identical.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 1


@dataclass(frozen=True)
class OperationSeries:
    """One package along one signal, operation by operation; columns of one length.

    Attributes:
        reference: what the operations are compared with, in words.
        types, modules: the words that the columns ``type`` and ``module`` count in.
        index: place in the program.
        operation: name, as recipes spell it.
        precision: ``fp16`` or ``fp32``.
        snr_db: accumulated error; null where there is no counterpart, or the reference is silent.
        local_db: the error that the operation adds itself.
        max_abs_error: of any element.
        peak: largest magnitude in the reference.
        ulp_p50, ulp_p99: units in the last place of the declared type, of a sample.
        subnormal_share: of the elements, of a sample.
    """

    subject: str
    case: str
    recipe: str
    engine: str
    numerics: str
    reference: str
    types: tuple[str, ...]
    modules: tuple[str, ...]
    index: tuple[int, ...]
    operation: tuple[str, ...]
    type: tuple[int, ...]
    module: tuple[int, ...]
    precision: tuple[str, ...]
    snr_db: tuple[float | None, ...]
    local_db: tuple[float | None, ...]
    max_abs_error: tuple[float | None, ...]
    peak: tuple[float, ...]
    ulp_p50: tuple[int | None, ...]
    ulp_p99: tuple[int | None, ...]
    subnormal_share: tuple[float, ...]
    version: int = VERSION


@dataclass(frozen=True)
class ErrorCounts:
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

    subject: str
    case: str
    recipe: str
    engine: str
    numerics: str
    tensor: str
    cells: tuple[tuple[int, ...], ...]
    exact: int
    zero_errors: tuple[tuple[int, ...], ...]
    non_finite: int
    elements: int
    ulp_dtype: str
    ulp_p50: int
    ulp_p99: int
    ulp_p999: int
    ulp_max: int
    version: int = VERSION


@dataclass(frozen=True)
class Raster:
    """A picture of levels.

    Attributes:
        rows, columns: of pixels.
        low_db, high_db: levels of code 0 (and under it) and of the highest code (and over it).
        levels: number of codes.
        pixels: the codes, as the module says.
    """

    rows: int
    columns: int
    low_db: float
    high_db: float
    levels: int
    pixels: str


@dataclass(frozen=True)
class StemPicture:
    """One stem as a reader can see it: spectrograms, and the waveform with what is left over.

    Attributes:
        low_hz, high_hz: of the spectrograms, whose rows are spaced logarithmically.
        reference, candidate, difference: in dB; 0 is a sine of full scale.
        wave_low, wave_high: least and greatest sample of both channels in each column, in
            thousandths of ``wave_peak``.
        rest_low, rest_high: the same of the difference, in thousandths of ``rest_peak``.
    """

    subject: str
    case: str
    recipe: str
    engine: str
    numerics: str
    stem: str
    snr_db: float | None
    duration_s: float
    low_hz: float
    high_hz: float
    reference: Raster
    candidate: Raster
    difference: Raster
    wave_peak: float
    wave_low: tuple[int, ...]
    wave_high: tuple[int, ...]
    rest_peak: float
    rest_low: tuple[int, ...]
    rest_high: tuple[int, ...]
    version: int = VERSION


@dataclass(frozen=True)
class StemTimeline:
    """The SNR of a stem, stretch by stretch.

    Attributes:
        stretch_s: how long a stretch is; the last one is moved back to end with the signal.
        start_s: of each stretch.
        snr_db: of the worse channel; null where the reference is silent.
    """

    subject: str
    case: str
    recipe: str
    engine: str
    numerics: str
    stem: str
    stretch_s: float
    start_s: tuple[float, ...]
    snr_db: tuple[float | None, ...]
    version: int = VERSION


@dataclass(frozen=True)
class AudioClip:
    """The worst moment of a stem to be heard.

    Attributes:
        start_s, duration_s: where the excerpt is.
        media_type: of the three sounds.
        reference, candidate, difference: files in Base64.
        difference_gain_db: by how much the difference is amplified.
    """

    subject: str
    case: str
    recipe: str
    engine: str
    numerics: str
    stem: str
    start_s: float
    duration_s: float
    media_type: str
    reference: str
    candidate: str
    difference: str
    difference_gain_db: float
    version: int = VERSION


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
    high_hz: float
    by_frequency_hz: tuple[float, ...]
    by_frequency_db: tuple[float, ...]
    by_time_s: tuple[float, ...]
    by_time_db: tuple[float, ...]
    edge: int
    version: int = VERSION


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
    n_fft: int
    hop_length: int
    cola_sum: float
    cola_ripple: float
    square_sum: float
    square_ripple: float
    cola_error: tuple[float, ...]
    square_error: tuple[float, ...]
    parseval_signal: str
    parseval_db: tuple[float | None, ...]
    version: int = VERSION


@dataclass(frozen=True)
class Explanation:
    """Why a run is as it is: the path of somebody who debugs it, with an answer at each step.

    Attributes:
        questions, answers: in words, in the order in which they are asked.
        evidence: lines for each answer.
        commands: to go on with.
    """

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    evidence: tuple[tuple[str, ...], ...]
    commands: tuple[str, ...]
    version: int = VERSION


@dataclass(frozen=True)
class Attachment:
    """A document that was made apart from the run and given to it.

    Attributes:
        name: of the file, or of what made it.
        kind: ``sensitivity``, ``tuning``, ``headroom``, ``conformance`` or ``bench``.
        document: what its command wrote, cut to what is drawn.
    """

    name: str
    kind: str
    document: Mapping[str, Any]
    version: int = VERSION


ARTEFACTS: Final[Mapping[str, Any]] = {
    "operations": OperationSeries,
    "error_counts": ErrorCounts,
    "stem_picture": StemPicture,
    "stem_timeline": StemTimeline,
    "audio_clip": AudioClip,
    "transform_error": TransformError,
    "window_sums": WindowSums,
    "explanation": Explanation,
    "attachment": Attachment,
}
"""Kind of artefact -> class of its rows."""
KIND_OF: Final = {cls: kind for kind, cls in ARTEFACTS.items()}
