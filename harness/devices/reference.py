"""The functions as mathematics has them, in float64: what tables are made from and judged by.

They take and return float64 arrays of any shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special

FloatArray: TypeAlias = npt.NDArray[np.float64]
Function: TypeAlias = Callable[[FloatArray], FloatArray]


FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "sigmoid": special.expit,
        "tanh": np.tanh,
        # Times zero where the normal distribution's function is none of float64's numbers.
        "gelu": lambda x: np.where(np.isneginf(x), 0.0, x * special.ndtr(x)),
        "silu": lambda x: np.where(np.isneginf(x), 0.0, x * special.expit(x)),
        "exp": np.exp,
        "exp2": np.exp2,
        "log": np.log,
        "reciprocal": np.reciprocal,
        "sqrt": np.sqrt,
        "rsqrt": lambda x: 1 / np.sqrt(x),
        "softplus": lambda x: np.logaddexp(0.0, x),
    }
)
"""By name. The logarithm is the natural one."""

MANTISSAS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "exp": np.exp2,
        "exp2": np.exp2,
        "log": np.log2,
        "reciprocal": np.reciprocal,
        "sqrt": np.sqrt,
        "rsqrt": FUNCTIONS["rsqrt"],
    }
)
"""Of functions whose table is over a mantissa: what its knots are values of."""
