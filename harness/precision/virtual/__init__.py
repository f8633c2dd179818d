"""A model in FP32 at any precision, without converting it: `VirtualPrecision`."""

from harness.precision.virtual.model import (
    Choice,
    Compression,
    VirtualPrecision,
    operation_name,
)
from harness.precision.virtual.plans import (
    carries,
    floating_reads,
    is_floating,
    moves,
    shape_of,
)

__all__ = [
    "Choice",
    "Compression",
    "VirtualPrecision",
    "carries",
    "floating_reads",
    "is_floating",
    "moves",
    "operation_name",
    "shape_of",
]
