"""The layer ``stft``: a transform, forward or back, with PyTorch's as Demucs calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.layers.tensors import compared
from harness.verdicts import Check

_GATES: Final = {np.dtype(np.float64): "stft_float64"}
"""By the type of what is expected; any other has the gate of float32."""


def transform_check(
    expected: npt.NDArray[Any], actual: npt.NDArray[Any], labels: Mapping[str, str]
) -> Check:
    """Compare a spectrogram, a waveform or what follows from them.

    Args:
        expected: PyTorch's, or a closed form; in float64 the gate is that of float64.
        actual: of the same shape and type.
        labels: of the check.
    """
    return compared("stft", _GATES.get(expected.dtype, "stft"), expected, actual, labels)
