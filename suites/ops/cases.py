"""The table of operation cases: what goes in, and what must come out by an independent oracle.

An oracle is NumPy, SciPy or a loop over indices, computed in float64 from the inputs as they are
stored (for FP16, rounded to the FP16 grid); it shares no code with the executor. A row makes a
case in every declared type of ``dtypes``. Rows are grouped by family, as the executor's modules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, Any]
Expected = Callable[..., Any]

FLOATS = ("fp32", "fp16")


@dataclass(frozen=True)
class Case:
    """One operation on one set of inputs.

    Attributes:
        id: unique name.
        op: MIL operation type.
        expected: oracle; takes all inputs by name (tensors as float64 or integers).
        tensors: inputs that arrive at run time; a list of arrays for variadic inputs.
        constants: tensor inputs that are constants of the program.
        params: plain values: numbers, strings, lists.
        dtypes: declared types in which the case is made.
        exact: the result must be bit for bit the oracle's, rounded to the declared type.
        opset: the version of the operation's definition.
    """

    id: str
    op: str
    expected: Expected
    tensors: Arrays = field(default_factory=dict)
    constants: Arrays = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    dtypes: Sequence[str] = FLOATS
    exact: bool = False
    opset: str = "iOS18"


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng([seed, *shape]).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(0.1, 3.0, shape)


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(-0.9, 0.9, shape)


def integers(low: int, high: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(np.int32)


def distinct(*shape: int, seed: int = 0) -> np.ndarray:
    """Values that all differ, in FP16 too, so that orders are unique."""
    count = int(np.prod(shape))
    order = np.random.default_rng([seed, count]).permutation(count) - count // 2
    return (order / 8).reshape(shape)


def by_position(function: Callable[..., Any]) -> Expected:
    """Return an oracle that passes its inputs in their order, for functions without their names."""
    return lambda **inputs: function(*inputs.values())


def all_cases() -> list[Case]:
    """Return every case; ids are unique."""
    from suites.ops import (
        cases_compressed,
        cases_images,
        cases_layers,
        cases_moves,
        cases_recurrent,
        cases_values,
        cases_writing,
    )

    rows = [
        *cases_values.CASES,
        *cases_layers.CASES,
        *cases_moves.CASES,
        *cases_writing.CASES,
        *cases_images.CASES,
        *cases_recurrent.CASES,
        *cases_compressed.CASES,
    ]
    ids = [row.id for row in rows]
    repeated = {name for name in ids if ids.count(name) > 1}
    if repeated:
        raise ValueError(f"case ids must be unique: {sorted(repeated)}")
    return rows
