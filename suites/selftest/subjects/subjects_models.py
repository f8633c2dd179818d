"""A small HTDemucs and an input for it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from harness.subjects import Architecture

TINY = Architecture(
    name="tiny",
    sources=("drums", "bass", "vocals"),
    arguments={
        "channels": 8,
        "depth": 4,
        "dconv_mode": 3,
        "bottom_channels": 32,
        "t_layers": 5,
        "t_heads": 4,
        "segment": Fraction(1, 2),
        "use_train_segment": True,
    },
    members=("aaaaaaaa",),
)
"""Every part of the published networks, in 22,050 samples and few channels."""


def music_like(length: int, channels: int = 2) -> torch.Tensor:
    """Noise and a tone, different in each channel, [1, channels, length]."""
    generator = np.random.default_rng(3)
    tone = np.sin(0.05 * np.arange(length) + np.arange(channels)[:, None])
    samples = 0.2 * tone + 0.1 * generator.standard_normal((channels, length))
    return torch.from_numpy(samples.astype(np.float32))[None]
