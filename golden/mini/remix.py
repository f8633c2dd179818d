"""Training batches from a pool of songs: crops, remixed between songs and changed in level.

A batch is (mixture float32 [B, 2, n], stems float32 [B, 6, 2, n]); the mixture is the stems' sum.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

COHERENT: Final = 0.5
"""Probability that all stems of an example come from one song, at one time."""

ABSENT: Final = 0.07
"""Probability that a stem of an example is silent."""

GAIN_DB: Final = 3.0
"""Standard deviation of a stem's gain."""


def draw_batch(
    songs: Tensor, size: int, length: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Draw ``size`` examples of ``length`` samples from ``songs``, float32 [pool, 6, 2, n].

    Besides the mixing between songs, each stem gets a gain, may swap its channels or be silent.
    """
    pool, sources, channels, samples = songs.shape
    shape = (size, sources)
    coherent = rng.random((size, 1)) < COHERENT
    slots = np.where(coherent, rng.integers(pool, size=(size, 1)), rng.integers(pool, size=shape))
    starts = np.where(
        coherent,
        rng.integers(samples - length + 1, size=(size, 1)),
        rng.integers(samples - length + 1, size=shape),
    )
    gains = 10 ** (np.clip(rng.normal(0, GAIN_DB, shape), -9, 9) / 20)
    gains[rng.random(shape) < ABSENT] = 0.0
    swapped = rng.random(shape) < 0.5

    channel = np.arange(channels) ^ swapped[..., None]
    windows = songs.unfold(3, length, 1)  # a view: every stretch of every stem
    chosen = (slots[..., None], np.arange(sources)[:, None], channel, starts[..., None])
    stems = windows[tuple(torch.from_numpy(index).to(songs.device) for index in chosen)]
    stems *= torch.from_numpy(gains.astype(np.float32)).to(songs.device)[:, :, None, None]
    return stems.sum(dim=1), stems
