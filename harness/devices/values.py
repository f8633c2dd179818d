"""Functions of one variable, for every FP16 number at once.

There are 65,536 of them: a function is computed once for all, by NumPy in float64 from its
definition, and then looked up. That is exact, and as fast for any definition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from harness.devices import grid, tables
from harness.devices.profile import Profile
from harness.devices.properties import Setting
from harness.devices.reference import FUNCTIONS, FloatArray
from harness.errors import require_known


def every_value(profile: Profile, settings: Mapping[str, Setting], name: str) -> FloatArray:
    """Return the values of a function at all FP16 numbers, in the order of their bits [65536].

    Args:
        profile: has the tables.
        settings: how what is not a table's business is settled, by property.
        name: of the function, in `harness.devices.reference.FUNCTIONS`.

    Raises:
        UnknownNameError: there is no such function.
    """
    require_known("function", FUNCTIONS, name)
    x, never_nan = grid.every_number(), settings["specials"] == "never_nan"
    if never_nan:  # a zero has no sign either
        x = np.where(np.isnan(x), np.inf, x) + 0.0
    flushes = settings["elementwise_subnormals"] == "flushed"
    x = _flushed(x) if flushes else x
    with np.errstate(all="ignore"):
        if name in profile.tables and settings["activations"] == "tables":
            y = tables.evaluate(profile.tables[name], x, str(settings["table_rounding"]))
        else:
            y = grid.nearest_even(FUNCTIONS[name](x))
        if name == "log":
            y = np.where(x == 0, settings["log_of_zero"], y)
        if name == "softplus" and settings["softplus_collapse"] != math.inf:  # infinite: never
            y = np.where(np.exp(x) < settings["softplus_collapse"], y, 0.0)
    y = np.where(np.isnan(y), 0.0, y) if never_nan else y
    return _flushed(y) if flushes else y


def _flushed(x: FloatArray) -> FloatArray:
    return np.where(np.abs(x) < grid.SMALLEST_NORMAL, np.copysign(0.0, x), x)
