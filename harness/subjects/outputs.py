"""What the outputs and taps of HTDemucs mean, for rooms that know no network."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from harness.audio import PUBLISHED, Geometry, waveform_from_spectrogram


def stem_waveform(outputs: Mapping[str, torch.Tensor], index: int) -> torch.Tensor:
    """Return one stem [C, n] in float64: the inverse STFT of its ``freq``, and its ``time``.

    It is linear in the outputs, so of an error it is the error of the stem.

    Args:
        outputs: ``freq`` [1, S, 2C, bins, frames] and ``time`` [1, S, C, n].
        index: of the stem among the S.
    """
    freq, time = outputs["freq"][:, index : index + 1].double(), outputs["time"][0, index].double()
    channels, length = time.shape
    # The sample rate plays no part in a transform.
    geometry = Geometry(PUBLISHED.sample_rate, channels, 2 * freq.shape[-2], length)
    return waveform_from_spectrogram(freq, length, geometry)[0, 0] + time


def branch_of(tap: str) -> str:
    """Return which branch a tap is on, ``freq`` or ``time``: in a program the two interleave."""
    family = tap.partition(".")[0]
    return "time" if family.startswith("t") or family.endswith("_t") else "freq"
