"""Where FP16 ends: IEEE 754 binary16, 5 bits of exponent and 10 of significand."""

from __future__ import annotations

from typing import Final

FP16_MAX: Final = 65504.0
"""The largest finite number."""
FP16_TO_INFINITY: Final = 65520.0
"""The least magnitude that is rounded to infinity: halfway to what would be the next number."""
FP16_SMALLEST_NORMAL: Final = 2.0**-14
"""Below it the significand loses bits, and some units take what is there for zero."""
FP16_SMALLEST_SUBNORMAL: Final = 2.0**-24
"""The least number but zero, and the step between all numbers below the smallest normal one."""
FP16_TO_ZERO: Final = FP16_SMALLEST_SUBNORMAL / 2
"""The greatest magnitude that is rounded to zero: a tie, and zero is even."""
