"""Windows, and the two sums that say whether frames can be put together again.

All windows are float64 [n] and periodic (the n-point start of an (n+1)-point symmetric window),
which is what an STFT needs; ``symmetric=True`` gives the filter-design form, for comparison.

Frames cut with a window w every ``hop`` samples can be added up to the signal

* without division, if the sum of the shifted w is the same everywhere: the constant-overlap-add
  condition, COLA, see :func:`cola`;
* with division by the sum of the shifted w^2, if that is nowhere zero: NOLA, see :func:`nola`.

Source: J. O. Smith, Spectral Audio Signal Processing, "Overlap-Add (OLA) STFT Processing".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import AudioError

Array = NDArray[np.floating[Any]]


def hann(n: int, *, symmetric: bool = False) -> NDArray[np.float64]:
    """Return the Hann window, [n]."""
    return _cosine_sum((0.5, 0.5), n, symmetric)


def hamming(n: int, *, symmetric: bool = False) -> NDArray[np.float64]:
    """Return the Hamming window with coefficients 0.54 and 0.46, [n]."""
    return _cosine_sum((0.54, 0.46), n, symmetric)


def blackman(n: int, *, symmetric: bool = False) -> NDArray[np.float64]:
    """Return the Blackman window with coefficients 0.42, 0.5 and 0.08, [n]."""
    return _cosine_sum((0.42, 0.5, 0.08), n, symmetric)


@dataclass(frozen=True)
class OverlapSum:
    """What a sum of shifted windows does over one hop, far from the ends.

    Attributes:
        hop: samples between windows.
        lowest, highest, mean: of the sum, in units of the window (or of its square).
    """

    hop: int
    lowest: float
    highest: float
    mean: float

    @property
    def relative_ripple(self) -> float:
        """Largest deviation from the mean, as a share of the mean; 0 is COLA fulfilled."""
        return max(self.highest - self.mean, self.mean - self.lowest) / self.mean


def overlap_sum(window: Array, hop: int) -> NDArray[np.float64]:
    """Return the sum of ``window`` [n], shifted by all multiples of ``hop``, over one hop: [hop].

    ``hop`` need not divide n. Computed in float64.

    Raises:
        AudioError: ``window`` is no vector, or ``hop`` is not from 1 to n.
    """
    if window.ndim != 1 or window.size == 0:
        raise AudioError(f"window has shape {window.shape}; expected a vector [n]")
    if not 1 <= hop <= window.size:
        raise AudioError(f"hop of {hop} samples; expected 1 to {window.size}, the window's length")
    shifts = -(-window.size // hop)
    whole = np.zeros(shifts * hop)
    whole[: window.size] = window
    sums: NDArray[np.float64] = whole.reshape(shifts, hop).sum(axis=0)
    return sums


def cola(window: Array, hop: int) -> OverlapSum:
    """Measure the constant-overlap-add condition of ``window`` [n]: the sum of shifted windows.

    Raises:
        AudioError: as :func:`overlap_sum`; or the windows cancel (their mean is zero).
    """
    return _measured(overlap_sum(window, hop), hop)


def nola(window: Array, hop: int) -> OverlapSum:
    """Measure the sum of shifted *squared* windows; an inverse STFT exists if ``lowest`` > 0.

    Raises:
        AudioError: as :func:`overlap_sum`; or the window is zero.
    """
    return _measured(overlap_sum(np.square(window, dtype=np.float64), hop), hop)


def _cosine_sum(coefficients: tuple[float, ...], n: int, symmetric: bool) -> NDArray[np.float64]:
    if n < 2:
        raise AudioError(f"window of {n} samples; expected at least 2")
    phase = 2 * np.pi * np.arange(n) / (n - 1 if symmetric else n)
    window = np.zeros(n)
    for order, coefficient in enumerate(coefficients):
        window += (-1) ** order * coefficient * np.cos(order * phase)
    return window


def _measured(sums: NDArray[np.float64], hop: int) -> OverlapSum:
    if sums.mean() == 0:
        raise AudioError("the shifted windows add up to zero; no frame can be put together again")
    return OverlapSum(hop, float(sums.min()), float(sums.max()), float(sums.mean()))
