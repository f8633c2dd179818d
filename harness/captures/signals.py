"""What probes are given: numbers in FP16, the same on every machine.

They are computed from integers and the names of what they are for, with one generator.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Half = npt.NDArray[np.float16]


def half(values: Any) -> Half:
    """Return values in FP16."""
    return np.ascontiguousarray(values, dtype=np.float16)


def noise(name: str, *shape: int) -> Half:
    """Return values of N(0, 1), as far as FP16 goes, without zeros and subnormals."""
    seed = np.frombuffer(name.encode().ljust(32, b"\0")[:32], np.uint32).tolist()
    x = np.random.default_rng(seed).standard_normal(shape)
    return half(np.where(np.abs(x) < 2**-6, 2**-6, x))


def grid(low: float, high: float) -> Half:
    """Return 2,048 FP16 numbers from ``low`` to ``high`` without those near 0."""
    x = half(np.linspace(low, high, 2048))
    return np.where(np.abs(x) < 2**-7, np.float16(2**-7), x)


def patterns() -> Half:
    """Return rows of 128 terms, each to be summed: the published probes, and noise [14, 128]."""
    rows = np.zeros((14, 128))
    for row, big in enumerate((1024, 3000, 4090, 4096, 8000, 14000)):
        rows[row, :48] = np.tile([big, -big, 1], 16)
    rows[6, :49] = [4096, *[1] * 48]
    rows[7, :17] = [8192, *[1] * 16]
    # Two terms that the M5's GPU adds first, and a serial sum doesn't.
    rows[8, [0, 2, 8]] = [16384, -16384, 2**-11]
    rows[9:] = noise("patterns", 5, 128)
    return half(rows)


def ties() -> Half:
    """Return rows of 60 whose mean lies half-way between two FP16 numbers [16, 60].

    There the reciprocal of 60 in FP32, which is a little wrong, decides where it is rounded.
    """
    count, rows = 60, []
    reciprocal = np.float32(1 / count)
    for whole in range(1025, 2047):
        total = count * (whole + 0.5)
        product = np.float32(np.float32(total) * reciprocal)
        if np.float16(product) != np.float16(whole + 0.5):
            row = np.full(count, float(whole))
            row[: count // 2] += 1
            rows.append(row)
    return half(rows[:16])


def one_of_many() -> Half:
    """Return one number among zeros, whose mean falls on either side of a rounding [1, 3439].

    Of all FP16 numbers and all counts up to 4,095 there are 13 such; a sum of one number is the
    same with any accumulator.
    """
    row = np.zeros((1, 3439))
    row[0, 0] = 1552
    return half(row)
