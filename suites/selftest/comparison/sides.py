"""Two sides to compare, as the tests make them, and what the judge says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from harness.comparison import (
    ComparisonRequest,
    ComparisonRow,
    judge,
    pair_up,
    read_side,
)
from harness.comparison.inputs import Tensor
from harness.verdicts import Verdict

RATE = 44_100


def noise(seed: int, shape: tuple[int, ...], scale: float = 0.1) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def tensors(**arrays: np.ndarray) -> dict[str, Tensor]:
    def of(array: np.ndarray) -> Tensor:
        return Tensor(Path("memory"), lambda: array)

    return {name.replace("__", "."): of(array) for name, array in arrays.items()}


def write(folder: Path, rate: int = RATE, subtype: str = "FLOAT", **stems: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, wave in stems.items():
        soundfile.write(folder / f"{name}.wav", wave.T, rate, subtype=subtype)
    return folder


def compared(one: Path, other: Path, **more: object) -> tuple[ComparisonRow, ...]:
    pairs = pair_up(read_side(one), read_side(other))
    request = ComparisonRequest(**more)  # type: ignore[arg-type]
    return tuple(row for pair in pairs for row in judge(pair, pairs, request))


def failing(rows: tuple[ComparisonRow, ...]) -> list[str]:
    return [row.what for row in rows if row.outcome.verdict is not Verdict.PASS]
