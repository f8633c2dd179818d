"""By how much an estimate is late, and by how much it is louder, for diagnosis beside the scores.

The delay is where the cross-correlation of all channels together is greatest in magnitude: searched
over whole samples, then between them, where a sampled signal's correlation is a sum of cosines. The
gain is the least-squares factor at that delay. Both are fitted at once: an estimate that is late is
not also said to be quiet, as a gain without a delay would have it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.fft

from harness.errors import ParityError
from harness.metrics._arrays import real_pair
from harness.metrics.levels import energy, is_silent, rms

LONGEST: Final = 44_100
"""The longest delay that is searched, in samples: a second at 44.1 kHz."""

_STEPS: Final = 20
_CLOSE: Final = 1e-9
_HIGHER: Final = 1 + 1e-12
"""Rounding of a sum of as many cosines as the signal has samples."""


@dataclass(frozen=True)
class Alignment:
    """How an estimate lies to its reference.

    Attributes:
        delay_samples: positive where the estimate is late; not whole where it lies between samples.
        gain: of the estimate at that delay; negative where the polarity is inverted.
        gain_db: of its magnitude.
    """

    delay_samples: float
    gain: float

    @property
    def gain_db(self) -> float:
        """The gain's magnitude in dB; ``-inf`` for 0."""
        return 20 * math.log10(abs(self.gain)) if self.gain else -math.inf


def alignment(
    reference: npt.ArrayLike, estimate: npt.ArrayLike, *, longest: int = LONGEST
) -> Alignment | None:
    """Delay and gain of an estimate; None where a side is silent.

    Args:
        reference: real [..., n], finite.
        estimate: real, the same shape, finite.
        longest: samples that are searched on each side, if the signal is that long.

    Raises:
        ParityError: the shapes differ, a signal is empty, not real, not finite or a single number,
            or ``longest`` is negative.
    """
    pair = real_pair(reference, estimate)
    if pair[0].ndim == 0 or longest < 0:
        raise ParityError("a delay needs signals with samples on the last axis, and longest >= 0")
    for name, signal in zip(("reference", "estimate"), pair, strict=True):
        if not np.isfinite(signal).all():
            raise ParityError(f"{name} holds samples that are not finite, so it has no delay")
    if any(is_silent(rms(side)) for side in pair):
        return None
    one, other = (np.reshape(side.astype(np.float64), (-1, side.shape[-1])) for side in pair)
    longest = min(longest, one.shape[-1] - 1)
    size = scipy.fft.next_fast_len(one.shape[-1] + longest + 1, real=True)
    cross = np.sum(scipy.fft.rfft(other, size) * np.conj(scipy.fft.rfft(one, size)), axis=0)
    correlation = scipy.fft.irfft(cross, size)
    lags = np.arange(-longest, longest + 1)
    whole = int(lags[int(np.argmax(np.abs(correlation[lags])))])
    delay, peak = _between(cross, size, whole, float(correlation[whole]))
    return Alignment(delay, peak / energy(one))


def _between(
    cross: npt.NDArray[np.complex128], size: int, whole: int, value: float
) -> tuple[float, float]:
    """The greatest magnitude of a correlation within a sample of ``whole``, and what is there.

    Newton's method on the sum of cosines that the correlation is between its samples.
    """
    turns = 2 * np.pi * np.arange(cross.size) / size
    weights = np.full(cross.size, 2.0 / size)
    weights[0] = 1.0 / size
    if size % 2 == 0:
        weights[-1] = 1.0 / size
    weighted = weights * cross
    delay, found = float(whole), value
    for _ in range(_STEPS):
        turned = weighted * np.exp(1j * turns * delay)
        found = float(np.sum(turned.real))
        slope = -float(np.sum(turns * turned.imag))
        bend = -float(np.sum(turns**2 * turned.real))
        if bend * value >= 0:  # no peak is near: as of a signal that alternates
            break
        step = -slope / bend
        delay = min(max(delay + step, whole - 1.0), whole + 1.0)
        if abs(step) < _CLOSE:
            break
    # Where the whole sample is as high, it is the answer: an exact delay stays exact.
    return (delay, found) if abs(found) > abs(value) * _HIGHER else (float(whole), value)
