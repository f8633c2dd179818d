"""The pack ``ops``; importing it registers its operations."""

from harness.packs.ops import (
    activation,
    attention,
    convolution,
    elementwise,
    linear,
    movement,
    normalisation,
    pooling,
    recurrent,
    reduction,
)
from harness.packs.problems import OPS

__all__ = [
    "OPS",
    "activation",
    "attention",
    "convolution",
    "elementwise",
    "linear",
    "movement",
    "normalisation",
    "pooling",
    "recurrent",
    "reduction",
]
