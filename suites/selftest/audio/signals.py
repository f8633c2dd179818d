"""What the tests of audio files write and read."""

from __future__ import annotations

import numpy as np


def noise(frames: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """[frames, channels] float32, peak 0.5."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)
