"""How shifted windows add up, which says whether frames can be put together again.

Frames cut with a window w every ``hop`` samples can be added up to the signal

* without division, if the sum of the shifted w is the same everywhere: the constant-overlap-add
  condition, COLA, see :func:`relative_ripple`;
* with division by the sum of the shifted w^2, if that is nowhere zero: NOLA.

Source: J. O. Smith, Spectral Audio Signal Processing, "Overlap-Add (OLA) STFT Processing".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import AudioError

Array = NDArray[np.floating[Any]]


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


def relative_ripple(window: Array, hop: int) -> float:
    """Return how far the sum of shifted windows is from its mean, as a share; 0 fulfils COLA.

    Raises:
        AudioError: as :func:`overlap_sum`; or the windows cancel (their mean is zero).
    """
    sums = overlap_sum(window, hop)
    mean = float(sums.mean())
    if mean == 0:
        raise AudioError("the shifted windows add up to zero; no frame can be put together again")
    return float(np.abs(sums - mean).max()) / mean
