"""Numbers in words, each with its unit.

In: plain Python numbers, ``None`` where something was not computed. Out: short text for people.
An SNR of ``inf`` means that two tensors are identical and reads "exact"; NaN reads "not a number".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from harness.verdicts.rows.operations import Form

NOT_COMPUTED = "\N{EN DASH}"
Say = Callable[[float | None], str]
"""How a number becomes words."""

_MINUS = "\N{MINUS SIGN}"
_THIN = "\N{NARROW NO-BREAK SPACE}"
_NBSP = "\N{NO-BREAK SPACE}"


def db(value: float | None, digits: int = 1) -> str:
    """Return a ratio in decibels; ``inf`` is "exact"."""
    return _decibels(value, digits, "dB", sign=False)


def dbfs(value: float | None) -> str:
    """Return a level relative to full scale; ``-inf`` is "silence"."""
    if value == -math.inf:
        return "silence"
    return _decibels(value, 1, "dBFS", sign=False)


def headroom(value: float | None) -> str:
    """Return a distance to a bound in decibels, with its sign; ``inf`` is "exact"."""
    return _decibels(value, 1, "dB", sign=True)


def limit(value: float) -> str:
    """Return a bound in decibels with the digits that it was given with."""
    return f"{value:g}{_NBSP}dB"


def small(value: float | None) -> str:
    """Return a plain number with two significant digits."""
    if value is None:
        return NOT_COMPUTED
    if not math.isfinite(value):
        return "not finite"
    mantissa, _, exponent = f"{value:.2g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def change(value: float | None) -> str:
    """Return a small change in decibels, with its sign; under 0.00005 dB it is "no change"."""
    if value is not None and abs(value) < 0.00005:
        return "no change"
    return _decibels(value, 4, "dB", sign=True)


def seconds(value: float | None) -> str:
    """Return a duration in the unit that suits it; exactly 0 is one that nobody measured."""
    if not value or not math.isfinite(value):
        return NOT_COMPUTED
    if value < 0.001:
        return f"<{_NBSP}1{_NBSP}ms"
    if value < 0.9995:
        return f"{value * 1e3:.0f}{_NBSP}ms"
    if value < 59.95:
        return f"{value:.1f}{_NBSP}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{_NBSP}min {rest:02d}{_NBSP}s"
    return f"{minutes // 60}{_NBSP}h {minutes % 60:02d}{_NBSP}min"


def position(value: float | None) -> str:
    """Return a position in a signal in seconds."""
    if value is None or not math.isfinite(value):
        return NOT_COMPUTED
    return f"{value:.1f}{_NBSP}s"


def size(value: float | None) -> str:
    """Return a number of bytes in decimal units."""
    if value is None or not math.isfinite(value):
        return NOT_COMPUTED
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(value) < 999.5 or unit == "GB":
            break
        value /= 1000.0
    digits = 0 if unit == "bytes" or value >= 100 else 1
    return f"{value:.{digits}f}{_NBSP}{unit}"


def count(value: float | None) -> str:
    """Return a count with its thousands apart."""
    if value is None or not math.isfinite(value):
        return NOT_COMPUTED
    return f"{value:,.0f}".replace(",", _THIN)


def figure(value: float | None, unit: str) -> str:
    """Return a measured number with three significant digits and its unit."""
    if value is None:
        return NOT_COMPUTED
    digits = f"{value:,.0f}".replace(",", _THIN) if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits}{_NBSP}{unit}" if unit else digits


def factor(value: float | None) -> str:
    """Return a multiplier with two significant digits."""
    if value is None:
        return NOT_COMPUTED
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinity"
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def percent(part: float, whole: float) -> float:
    """Return ``part`` of ``whole`` in percent, 0 where the whole is nothing."""
    return round(100.0 * part / whole, 2) if whole else 0.0


def written(value: float | None, form: Form) -> str:
    """Return a number as a metric of operations has it written."""
    return _FORMS[form](value)


def plural(number: int, noun: str) -> str:
    """Return ``1 check`` or ``2 checks``."""
    return f"{count(number)} {noun if number == 1 else noun + 's'}"


def _decibels(value: float | None, digits: int, unit: str, *, sign: bool) -> str:
    if value is None:
        return NOT_COMPUTED
    if math.isnan(value):
        return "not a number"
    if value == math.inf:
        return "exact"
    if value == -math.inf:
        return f"{_MINUS}∞{_NBSP}{unit}"
    rounded = round(value, digits) + 0.0  # no "-0.0"
    form = f".{digits}f" if abs(rounded) < 1e6 else ".3g"
    text = f"{abs(rounded):{form}}{_NBSP}{unit}"
    if rounded < 0:
        return _MINUS + text
    return f"+{text}" if sign and rounded > 0 else text


def _share(value: float | None) -> str:
    return NOT_COMPUTED if value is None else f"{round(100 * value, 1)} %"


_FORMS: Final[Mapping[Form, Say]] = {
    "decibels": db,
    "small": small,
    "count": count,
    "percent": _share,
}
