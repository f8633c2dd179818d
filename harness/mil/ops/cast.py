"""Conversion between element types.

Source: ``cast`` in ``converters/mil/mil/ops/defs/{iOS15,iOS17}/elementwise_unary.py`` of
coremltools. Floating to integer truncates towards zero; to bool is "not zero". Integers beyond the
range of a new signed type, or of uint8, wrap, as NumPy's do. What a floating number is that no
integer holds, says `harness.mil.numerics.rounding.truncated`.
"""

from __future__ import annotations

from harness.mil.ops.registry import Effect, Tensor, operation


@operation("cast", effect=Effect.VIEW)
def cast(x: Tensor, dtype: str) -> Tensor:
    """``x`` in the type ``dtype``; the rounding belongs to the numerics, not to this function."""
    return x != 0 if dtype == "bool" else x
