"""The mixture null test: do the estimates sum to what the references sum to?

A stem that lost something to another one leaves the sum as it was; what is lost or added altogether
does not. So a null test that is deeper than each stem's SNR says leakage, and one that is not says
loss. Against PyTorch's stems it holds a conversion to what PyTorch loses itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import ParityError
from harness.metrics._arrays import real_pair
from harness.metrics.levels import dbfs, is_silent, rms
from harness.metrics.tensor import snr_db


@dataclass(frozen=True)
class MixtureNull:
    """What is left when the sums are subtracted.

    Attributes:
        depth_db: the sum of the references against what is left; None where that sum is silent;
            ``inf`` where nothing is left.
        rest_rms_dbfs: level of what is left.
    """

    depth_db: float | None
    rest_rms_dbfs: float


def mixture_null(references: npt.ArrayLike, estimates: npt.ArrayLike) -> MixtureNull:
    """Subtract the sums of all sources.

    Args:
        references: real [sources, ..., n].
        estimates: real, the same shape.

    Raises:
        ParityError: the shapes differ, or the arrays are empty, not real or of a single axis.
    """
    pair = real_pair(references, estimates)
    if pair[0].ndim < 2:
        raise ParityError(
            f"stems have shape {list(pair[0].shape)}, expected [sources, ..., samples]"
        )
    expected, actual = (np.sum(side, axis=0, dtype=np.float64) for side in pair)
    depth = None if is_silent(rms(expected)) else snr_db(expected, actual)
    return MixtureNull(depth, dbfs(rms(actual - expected)))
