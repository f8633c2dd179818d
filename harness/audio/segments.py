"""Long signals in segments of the network's length, and their stems put together again.

Segment i starts at sample ``i * (segment_length - overlap)``, so each shares ``overlap`` samples
with its neighbour. There, the earlier segment fades out and the later one fades in, linearly, with
weights that sum to exactly one. The first segment has no fade at its start and the last none at
its end. Where the last segment reaches past the signal, the signal is reflected about its last
sample (``numpy.pad(..., mode="reflect")``: to and fro, if it is shorter than the padding); what the
network makes of the reflection is cut off. Output and input have the same number of samples.

Signals are float32 [2, samples], what the network sees is float32 [1, 2, segment_length], and what
it returns float32 [S, 2, segment_length]; a network of other channels has those instead of 2.
Demucs' own ``apply_model`` differs: it fades by 1/4 of a segment with a triangle over the whole
segment, and pads with zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.audio.contract import CHANNELS, SEGMENT_LENGTH, SEGMENT_OVERLAP
from harness.errors import AudioError

Array = NDArray[np.float32]
Predict = Callable[[Array], Array]
"""audio [1, 2, segment_length] -> stems [S, 2, segment_length]."""

_RAMP_STEPS = 2**24


@dataclass(frozen=True)
class Segment:
    """Where one segment lies.

    Attributes:
        index: 0 for the first.
        start, stop: samples of the signal that it holds: ``signal[:, start:stop]``.
        padding: reflected samples that fill it up at its end.
    """

    index: int
    start: int
    stop: int
    padding: int


@dataclass(frozen=True)
class SegmentPlan:
    """All segments of a signal of ``length`` samples."""

    length: int
    segment_length: int
    overlap: int
    segments: tuple[Segment, ...]

    @property
    def stride(self) -> int:
        """Samples from the start of one segment to the start of the next."""
        return self.segment_length - self.overlap


def plan_segments(
    length: int, *, segment_length: int = SEGMENT_LENGTH, overlap: int = SEGMENT_OVERLAP
) -> SegmentPlan:
    """Return the segments of a signal of ``length`` samples.

    Raises:
        AudioError: ``length`` is under 1, or ``overlap`` is negative or over half a segment.
    """
    stride = _checked_stride(segment_length, overlap)
    if length < 1:
        raise AudioError(f"signal of {length} samples has no segments; expected at least 1 sample")
    count = 1 + max(0, -(-(length - segment_length) // stride))
    segments = []
    for index in range(count):
        start = index * stride
        stop = min(start + segment_length, length)
        segments.append(Segment(index, start, stop, start + segment_length - stop))
    return SegmentPlan(length, segment_length, overlap, tuple(segments))


@lru_cache(maxsize=8)
def crossfade(overlap: int) -> tuple[Array, Array]:
    """Return (fade_out, fade_in), [overlap] each: a linear ramp through 0 and 1 outside its ends.

    The weights are whole multiples of 2^-24, so each is a float32 number and
    ``fade_out + fade_in == 1`` holds exactly, not only after rounding.
    """
    ramp = np.arange(1, overlap + 1) / (overlap + 1)
    steps = np.rint(ramp * _RAMP_STEPS)
    fade_in = (steps / _RAMP_STEPS).astype(np.float32)
    fade_out = ((_RAMP_STEPS - steps) / _RAMP_STEPS).astype(np.float32)
    for weights in (fade_out, fade_in):
        weights.flags.writeable = False
    return fade_out, fade_in


def separate_stream(
    blocks: Iterable[Array],
    predict: Predict,
    *,
    segment_length: int = SEGMENT_LENGTH,
    overlap: int = SEGMENT_OVERLAP,
    channels: int = CHANNELS,
) -> Iterator[Array]:
    """Separate a signal that arrives in blocks; yield stems in blocks.

    Memory is bounded by a few segments of the signal and of the stems, however long the signal.

    Args:
        blocks: float32 [2, n], any n, in order; together the signal.
        predict: called once for each segment, in order, with float32 [1, 2, segment_length];
            returns float32 [S, 2, segment_length], the same S each time. It may keep or change
            its input.
        segment_length: samples in a segment.
        overlap: samples that neighbouring segments share, at most half a segment.
        channels: of the signal and of the stems.

    Yields:
        float32 [S, 2, m], in order, as soon as they are final; together as long as the signal.

    Raises:
        AudioError: the stream is empty, a block is not float32 [2, n], ``predict`` returns another
            shape or dtype, or ``overlap`` is out of range.
    """
    stride = _checked_stride(segment_length, overlap)
    stems = _StemJoiner(predict, (channels, segment_length), overlap)
    history = np.zeros((channels, 0), np.float32)  # one stride, kept for the reflection at the end
    parts, waiting = [history], 0  # the signal from the start of the next segment on
    for block in blocks:
        check_block(block, channels, "a block")
        parts.append(block)
        waiting += block.shape[1]
        if waiting < segment_length:
            continue
        current = np.concatenate(parts, axis=1)
        while current.shape[1] >= segment_length:
            yield stems.add(current[:, :segment_length])
            history, current = current[:, :stride].copy(), current[:, stride:]
        parts, waiting = [current], current.shape[1]

    if waiting == 0 and not stems.started:
        raise AudioError("the signal is empty: no samples arrived; expected at least 1")
    if stems.started and waiting == overlap:  # the last segment ended where the signal ends
        yield stems.tail
        return
    known = np.concatenate([history, *parts], axis=1)
    padded = np.pad(known, ((0, 0), (0, segment_length - waiting)), mode="reflect")
    yield stems.add(padded[:, history.shape[1] :])[..., :waiting]
    if waiting > stride:
        yield stems.tail[..., : waiting - stride]


class _StemJoiner:
    """Predict segments in order and join their stems, one stride at a time."""

    def __init__(self, predict: Predict, shape: tuple[int, int], overlap: int) -> None:
        channels, segment_length = self._shape = shape
        self._predict = predict
        self._stride = segment_length - overlap
        self._fade_out, self._fade_in = crossfade(overlap)
        self._sources: int | None = None
        self.tail: Array = np.zeros((0, channels, overlap), np.float32)
        """Stems of the last segment that are not final before the next one is known."""

    @property
    def started(self) -> bool:
        """Whether a segment has been added."""
        return self._sources is not None

    def add(self, audio: Array) -> Array:
        """Predict the stems of ``audio`` [2, segment_length]; return those that are final now."""
        stems = self._checked(self._predict(audio[np.newaxis].copy()))
        final = stems[..., : self._stride].copy()
        overlap = self._fade_in.size
        if self._sources is not None:
            final[..., :overlap] *= self._fade_in
            final[..., :overlap] += self.tail * self._fade_out
        self._sources = stems.shape[0]
        self.tail = stems[..., self._stride :].copy()
        return final

    def _checked(self, stems: Array) -> Array:
        sources = "sources" if self._sources is None else self._sources
        if (
            stems.dtype != np.float32
            or stems.ndim != 3
            or stems.shape[1:] != self._shape
            or self._sources not in (None, stems.shape[0])
        ):
            raise AudioError(
                f"the prediction is {stems.dtype} {list(stems.shape)}; "
                f"expected float32 [{sources}, {self._shape[0]}, {self._shape[1]}]"
            )
        return stems


def _checked_stride(segment_length: int, overlap: int) -> int:
    if segment_length < 1 or not 0 <= 2 * overlap <= segment_length:
        raise AudioError(
            f"segments of {segment_length} samples can't overlap by {overlap}; "
            f"expected an overlap from 0 to half a segment"
        )
    return segment_length - overlap


def check_block(block: Array, channels: int, name: str) -> None:
    """Check that a block of audio, which messages call ``name``, is float32 [channels, n].

    Raises:
        AudioError: it is not.
    """
    if block.dtype != np.float32 or block.ndim != 2 or block.shape[0] != channels:
        raise AudioError(
            f"{name} is {block.dtype} {list(block.shape)}; expected float32 [{channels}, samples]"
        )
