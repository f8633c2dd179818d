"""What a package must reach: the SNR that its recipe has by a virtual run on the same case.

A virtual run makes of the FP32 package what the recipe says, without converting anything. A
package that is worse by more than 3 dB computes something else than it declares, even where it
passes 60 dB.
"""

from __future__ import annotations

import math

import numpy as np

from harness.errors import ParityError
from harness.golden import Golden
from harness.metrics import snr_db
from harness.workbench.bench import Prediction


def beside_prediction_db(expected: np.ndarray, actual: np.ndarray, predicted: np.ndarray) -> float:
    """Return by how many dB the SNR of ``actual`` is above that of ``predicted``.

    It is -inf where either can't be told, as with a NaN.

    Args:
        expected: what PyTorch makes.
        actual: what the package makes.
        predicted: what its recipe makes, run virtually.
    """
    reached, promised = snr_db(expected, actual), snr_db(expected, predicted)
    if reached == promised:
        return 0.0
    gap = reached - promised
    return -math.inf if math.isnan(gap) else gap


def worst_tap_beside_prediction(
    golden: Golden, actual: Prediction, predicted: Prediction
) -> tuple[str, float]:
    """Return the inner tap that is furthest under its prediction, and `beside_prediction_db` of it.

    Raises:
        ParityError: the two have other taps, or none.
    """
    odd = sorted(actual.taps.keys() ^ predicted.taps.keys())
    if odd or not actual.taps:
        what = f"differ in {', '.join(odd)}" if odd else "have none"
        raise ParityError(f"the taps of a package and of its prediction differ or lack: {what}")
    gaps = {
        tap: beside_prediction_db(golden[f"tap.{tap}"], value, predicted.taps[tap])
        for tap, value in actual.taps.items()
    }
    worst = min(gaps, key=lambda tap: gaps[tap])
    return worst, gaps[worst]
