"""Energy by Parseval's theorem: what the spectra of any implementation are held to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def onesided_energy(
    spectrum: NDArray[np.inexact[Any]], *, has_nyquist: bool, axis: int = -2
) -> NDArray[np.float64]:
    """Return the energy of a real signal from the half of its spectrum that is stored.

    For a transform divided by sqrt(N), Parseval's theorem makes it the sum of the squared samples,
    for each frame. Bins between 0 Hz and Nyquist stand for two, those two for one.

    Args:
        spectrum: complex, the bins along ``axis`` from 0 Hz upwards.
        has_nyquist: whether the last bin is the Nyquist bin; without it, its share is missing.
        axis: of the bins.
    """
    power = np.moveaxis(np.abs(spectrum.astype(np.complex128)) ** 2, axis, 0)
    twice = power[1:-1] if has_nyquist else power[1:]
    energy: NDArray[np.float64] = power[0] + 2 * twice.sum(axis=0)
    return energy + power[-1] if has_nyquist else energy
