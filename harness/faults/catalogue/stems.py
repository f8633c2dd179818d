"""Bugs of stems and channels after the network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from harness.faults.registry import CLASSIC, CONVERSIONS, TOOLS, fault

_stems = partial(fault, judge="stems", caught_by="end_to_end")


def _one(
    number: int, change: Callable[[np.ndarray], np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """Change one stem, [channels, n]."""

    def inject(stems: np.ndarray) -> np.ndarray:
        stems[number] = change(stems[number])
        return stems

    return inject


_stems("stems.order", source=CONVERSIONS, sample=True)(
    lambda stems: stems[[1, 0, *range(2, len(stems))]],
    "Bass and drums are exchanged: the sources come in the order of another model.",
)
_stems("stems.rotated", source=CONVERSIONS)(
    lambda stems: np.roll(stems, 1, axis=0),
    "The last source comes first.",
)
_stems("stems.gain-half", source=CONVERSIONS)(
    _one(3, lambda stem: stem * np.float32(0.5)),
    "One stem has half its level, which SDR of BSS-eval (sources) forgives.",
)
_stems("stems.gain-hundredth-db", source=CONVERSIONS, sample=True)(
    _one(0, lambda stem: stem * np.float32(10 ** (0.01 / 20))),
    "One stem is 0.01 dB too loud: a gain error of 0.12 %.",
)
_stems("stems.polarity", source=CONVERSIONS)(
    _one(1, np.negative),
    "One stem has the other sign, which SDR of BSS-eval (sources) forgives.",
)


@_stems("stems.silence", source=TOOLS, sample=True)
def _silence(stems: np.ndarray) -> np.ndarray:
    """The quietest stem is replaced by silence; an epsilon in a dB formula gave that 100 dB."""
    stems[np.argmin(np.square(stems).mean(axis=(1, 2)))] = 0
    return stems


_stems("stems.left-right", source=CONVERSIONS)(
    _one(2, lambda stem: stem[::-1]),
    "Left and right of one stem are exchanged.",
)
_stems("stems.mono", source=CLASSIC)(
    lambda stems: np.repeat(stems.mean(axis=1, keepdims=True), 2, axis=1),
    "Stems are mixed down to mono and come out on both channels.",
)
_stems("stems.one-sample-late", source=CLASSIC)(
    lambda stems: np.roll(stems, 1, axis=-1),
    "Stems come one sample late.",
)
_stems("stems.low-passed", source=TOOLS)(
    _one(0, lambda stem: np.float32(0.9) * stem + np.float32(0.1) * np.roll(stem, 1, axis=-1)),
    "One stem went through a mild filter, which SDR of BSS-eval (sources) forgives.",
)


@_stems("stems.click", source=CLASSIC)
def _click(stems: np.ndarray) -> np.ndarray:
    """One sample of one channel is off by -20 dBFS: only its own second is short enough to tell."""
    stems[0, 1, 171_990] += np.float32(0.1)
    return stems


@_stems("stems.clipped", source=CLASSIC)
def _clipped(stems: np.ndarray) -> np.ndarray:
    """Stems are written as 16-bit integers after a division by 32,767 and a wrap at full scale."""
    whole = np.rint(stems * 2**17).astype(np.int64)
    wrapped = ((whole + 2**15) % 2**16 - 2**15).astype(np.float32)
    result: np.ndarray = wrapped / np.float32(2**17)
    return result
