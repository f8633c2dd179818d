"""A model in FP32 at any precision, without converting it."""

from harness.precision.virtual.model import (
    Choice,
    Compression,
    VirtualPrecision,
    operation_name,
)

__all__ = ["Choice", "Compression", "VirtualPrecision", "operation_name"]
