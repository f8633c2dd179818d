"""Functions from tables of knots, as Apple's Neural Engine evaluates them; in float64, by NumPy.

Nothing here is a copy of a table: knots are computed from what is published about them.

Interpolation begins at the knot nearer to zero, a0, goes towards the next one, a1, and is rounded
to FP16 twice; s is the fraction of the way::

    y = r(a0 + r(s * (a1 - a0)))

A table over a mantissa leaves the exponent apart: exp is 2^f times a power of two, log the exponent
plus a table, and so on. How an argument is scaled on its way to such a table is not published; here
it is exact.

Every function takes FP16 values as float64 and returns FP16 values as float64. Arguments for which
a function is undefined give NaN, as IEEE has it: what a unit makes of that is not its table's
business.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np

from harness.devices.grid import SMALLEST_NORMAL, every_number, nearest_away, nearest_even
from harness.devices.profile import ProfileError, Table
from harness.devices.reference import FUNCTIONS, MANTISSAS, FloatArray

ROUNDINGS: Final = {"nearest_away": nearest_away, "nearest_even": nearest_even}


def evaluate(table: Table, x: FloatArray, rounding: str) -> FloatArray:
    """Return the function of ``table`` at the FP16 values ``x``.

    Args:
        table: which knots, and where.
        x: any shape.
        rounding: a key of `ROUNDINGS`, for both steps of an interpolation.
    """
    if table.kind == "octave":
        return _OCTAVES[table.function](table, x, rounding)
    magnitude = np.abs(x) if table.odd else x
    y = _between_knots(table, magnitude, rounding)
    return np.copysign(y, x) if table.odd else y


@lru_cache(maxsize=64)
def knots(table: Table) -> FloatArray:
    """Return the knots' values: FP16 numbers, as float64 [table.knots]."""
    if table.values == "fitted":
        return fitted_knots(table)
    functions = MANTISSAS if table.kind == "octave" else FUNCTIONS
    return nearest_even(functions[table.function](_places(table)))


def fitted_knots(table: Table) -> FloatArray:
    """Return the knots that fit the function best at the FP16 numbers, by least squares.

    The published tables of GELU and SiLU are a fit: their values at 0 are not 0. How they are
    fitted is not published. This fit is ours: the sum of squared errors over all normal FP16
    numbers of the domain is least, each of them counting once, so that small arguments, where FP16
    is dense, count most. It has the published value at 0, worst error, and ratios to noise.
    """
    low, high = table.domain
    numbers = every_number()
    x = numbers[(np.abs(numbers) >= SMALLEST_NORMAL) & (numbers >= low) & (numbers <= high)]
    segments = table.knots - 1
    place = (x - low) * segments / (high - low)
    left = np.minimum(place.astype(np.int64), segments - 1)
    share = place - left
    # Each number touches two knots, so the normal equations have three diagonals.
    matrix = np.zeros((table.knots, table.knots))
    target = np.zeros(table.knots)
    y = FUNCTIONS[table.function](x)
    for first, weight in ((left, 1 - share), (left + 1, share)):
        np.add.at(target, first, weight * y)
        for second, other in ((left, 1 - share), (left + 1, share)):
            np.add.at(matrix, (first, second), weight * other)
    if np.linalg.matrix_rank(matrix) < table.knots:
        raise ProfileError(
            f"table of {table.function}: {table.knots} knots over {[low, high]} can't be fitted to "
            f"the {x.size} normal numbers of FP16 there; give fewer knots, or a wider domain"
        )
    return nearest_even(np.asarray(np.linalg.solve(matrix, target), np.float64))


def _places(table: Table) -> FloatArray:
    return np.linspace(*table.domain, table.knots)


def _between_knots(table: Table, x: FloatArray, rounding: str) -> FloatArray:
    places, values = _places(table), knots(table)
    for tail, end in ((table.below, 0), (table.above, -1)):
        if tail is not None and tail.at != places[end]:
            places = np.insert(places, end if end == 0 else places.size, tail.at)
            reached = tail.slope * tail.at + tail.offset
            values = np.insert(values, end if end == 0 else values.size, reached)
    y = _interpolated(places, values, x, rounding)
    if table.below is not None:
        y = np.where(x <= table.below.at, _line(table.below.slope, table.below.offset, x), y)
    if table.above is not None:
        y = np.where(x >= table.above.at, _line(table.above.slope, table.above.offset, x), y)
    return np.where(np.isnan(x), x, y)


def _line(slope: float, offset: float, x: FloatArray) -> FloatArray:
    # A flat line, too, is a number at infinity.
    return nearest_even(slope * x + offset) if slope else np.full_like(x, offset)


def _interpolated(
    places: FloatArray, values: FloatArray, x: FloatArray, rounding: str
) -> FloatArray:
    rounded = ROUNDINGS[rounding]
    inside = np.clip(np.where(np.isnan(x), 0.0, x), places[0], places[-1])
    left = np.clip(np.searchsorted(places, inside, side="right") - 1, 0, places.size - 2)
    # A segment of negative arguments begins at its upper end, the nearer one to zero.
    down = places[left + 1] <= 0
    near, far = left + down, left + ~down
    fraction = (inside - places[near]) / (places[far] - places[near])
    return rounded(values[near] + rounded(fraction * (values[far] - values[near])))


def _power_of_two(table: Table, x: FloatArray, rounding: str) -> FloatArray:
    bounded = np.clip(x, -64.0, 64.0)  # beyond, the result is 0 or infinite in FP16 in any case
    whole = np.floor(bounded)
    mantissa = _interpolated(_places(table), knots(table), bounded - whole, rounding)
    y = nearest_even(mantissa * np.exp2(np.nan_to_num(whole)))
    return np.where(np.isnan(x), x, y)


def _log(table: Table, x: FloatArray, rounding: str) -> FloatArray:
    # log(0) = -45,440 on the M1 is -65,536 times log 2: so this is base 2, times a constant, wide.
    mantissa, exponent = np.frexp(x)
    base_2 = _interpolated(_places(table), knots(table), mantissa, rounding) + exponent
    y = nearest_even(base_2 * math.log(2))
    return np.select([np.isnan(x) | (x < 0), x == 0, np.isposinf(x)], [np.nan, -np.inf, x], y)


def _reciprocal(table: Table, x: FloatArray, rounding: str) -> FloatArray:
    y = np.copysign(_power(table, x, rounding, -1.0), x)
    zero, infinite = np.copysign(0.0, x), np.copysign(np.inf, x)
    return np.select([np.isnan(x), x == 0, np.isinf(x)], [x, infinite, zero], y)


def _sqrt(table: Table, x: FloatArray, rounding: str) -> FloatArray:
    y = _power(table, x, rounding, 0.5)
    return np.select([np.isnan(x) | (x < 0), x == 0, np.isposinf(x)], [np.nan, x, x], y)


def _rsqrt(table: Table, x: FloatArray, rounding: str) -> FloatArray:
    y = _power(table, x, rounding, -0.5)
    infinite = np.copysign(np.inf, x)
    return np.select([np.isnan(x) | (x < 0), x == 0, np.isposinf(x)], [np.nan, infinite, 0.0], y)


def _power(table: Table, x: FloatArray, rounding: str, power: float) -> FloatArray:
    """A table over one octave; half an exponent is a factor of the square root of 2, or of 1/2."""
    mantissa, exponent = np.frexp(np.abs(x))
    y = _interpolated(_places(table), knots(table), mantissa, rounding)
    return nearest_even(y * np.exp2(exponent * power))


_OCTAVES: Final[dict[str, Callable[[Table, FloatArray, str], FloatArray]]] = {
    "exp": lambda table, x, rounding: _power_of_two(table, x * math.log2(math.e), rounding),
    "exp2": _power_of_two,
    "log": _log,
    "reciprocal": _reciprocal,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
}
