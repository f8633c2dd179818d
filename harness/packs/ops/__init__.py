"""The pack ``ops``; importing it registers its operations."""

from harness.packs.ops import (  # noqa: F401
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
