"""A tensor's fingerprint: small enough for git, sharp enough to notice that the tensor moved.

In: a name and a finite array of any shape, floats or int32. Out: shape, dtype, four moments in
float64 (rms, mean, min, max) and 64 values at positions that the name alone decides.

Positions can be computed in any language: sample ``k`` of tensor ``name`` lies at the flat
(row-major) index ``u mod size``, where ``u`` is the first eight bytes, little-endian, of
SHA-256(``name/k`` in UTF-8).

Two fingerprints agree when nothing differs by more than 1e-5, each quantity on its own scale:

=====================================  ==========================================================
rms, mean                              the recorded rms
min, max, each sample                  the largest recorded magnitude
rms of the 64 samples' differences     the recorded rms, of the tensor or of the samples
=====================================  ==========================================================

Another processor rounds otherwise. What it changes grows with the largest values that meet in a
sum, so single values are held to the peak; the third row holds the level of the difference to the
level of the tensor (100 dB), because under a high peak a whole noise floor could drift. A tensor of
zeros must stay exactly zero.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import GoldenError
from harness.verdicts.jsondata import Finite, Limits

SAMPLES: Final = 64
TOLERANCE: Final = 1e-5
"""Relative. Computing FP32 with SSE instead of AVX-512 moved the tensors of the committed cases by
at most a third of it; one rounding to FP16 moves the samples' level by 20 times as much."""
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of one tensor. ``samples`` are the values at `sample_positions`."""

    dtype: str
    shape: tuple[Annotated[int, Limits(1)], ...]
    rms: Finite
    mean: Finite
    min: Finite
    max: Finite
    samples: Annotated[tuple[Finite, ...], Limits(SAMPLES, SAMPLES)]


@dataclass(frozen=True)
class Difference:
    """The largest disagreement between two fingerprints of one tensor.

    ``relative`` is in units of the quantity's scale; ``inf`` where tensors can't be compared.
    """

    tensor: str
    relative: float
    text: str


def sample_positions(name: str, size: int) -> npt.NDArray[np.int64]:
    """Return the 64 flat positions (int64 [64]) that are sampled in a tensor of ``size`` values."""
    hashes = (hashlib.sha256(f"{name}/{index}".encode()).digest() for index in range(SAMPLES))
    return np.array([int.from_bytes(h[:8], "little") % size for h in hashes], dtype=np.int64)


def fingerprint(name: str, tensor: npt.NDArray[Any]) -> Fingerprint:
    """Return the fingerprint of ``tensor``, finite and of any shape.

    Raises:
        GoldenError: ``tensor`` is empty, is neither floating point nor int32, or holds inf or NaN.
    """
    if tensor.size == 0 or tensor.dtype.kind not in "fi":
        raise GoldenError(
            f"tensor {name!r} is {tensor.dtype.name} {list(tensor.shape)}; a golden holds "
            "floating-point tensors that are not empty, so correct what builds it"
        )
    flat = tensor.reshape(-1)
    total = squares = 0.0
    # Blocks keep the float64 copy of a 66 MB tensor out of memory.
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        total += float(block.sum())
        squares += float(np.dot(block, block))
    if not math.isfinite(squares):
        raise GoldenError(
            f"tensor {name!r} holds inf or NaN: the subject itself is broken on this case, "
            "so there is nothing to compare with; correct the subject or the recipe"
        )
    samples = flat[sample_positions(name, flat.size)].astype(np.float64)
    return Fingerprint(
        dtype=tensor.dtype.name,
        shape=tuple(tensor.shape),
        rms=math.sqrt(squares / flat.size),
        mean=total / flat.size,
        min=float(flat.min()),
        max=float(flat.max()),
        samples=tuple(samples.tolist()),
    )


def largest_difference(
    expected: Mapping[str, Fingerprint], actual: Mapping[str, Fingerprint]
) -> Difference | None:
    """Return the largest disagreement over all tensors; None when there are none to compare.

    A tensor that only one side has, another shape and another dtype count as ``inf``.
    """
    missing, extra = (
        sorted(expected.keys() - actual.keys()),
        sorted(actual.keys() - expected.keys()),
    )
    if missing:
        return Difference(missing[0], math.inf, f"tensor {missing[0]!r} is recorded but not built")
    if extra:
        return Difference(extra[0], math.inf, f"tensor {extra[0]!r} is built but not recorded")
    differences = [_difference(name, expected[name], actual[name]) for name in sorted(expected)]
    return max(differences, key=lambda difference: difference.relative, default=None)


def _difference(name: str, expected: Fingerprint, actual: Fingerprint) -> Difference:
    def incomparable(what: str, was: object, now: object) -> Difference:
        return Difference(name, math.inf, f"tensor {name!r} has {what} {now}, recorded is {was}")

    if expected.shape != actual.shape:
        return incomparable("shape", list(expected.shape), list(actual.shape))
    if expected.dtype != actual.dtype:
        return incomparable("dtype", expected.dtype, actual.dtype)
    largest = max(_comparisons(name, expected, actual), key=lambda item: item.relative)
    return Difference(
        name, largest.relative, f"{largest.text} (relative difference {largest.relative:.2g})"
    )


def _comparisons(name: str, expected: Fingerprint, actual: Fingerprint) -> Iterator[Difference]:
    def compared(what: str, was: float, now: float, scale: float) -> Difference:
        text = f"tensor {name!r}, {what}: {now:.9g}, recorded is {was:.9g}"
        return Difference(name, _ratio(abs(now - was), scale), text)

    peak = max(abs(expected.min), abs(expected.max))
    yield compared("rms", expected.rms, actual.rms, expected.rms)
    yield compared("mean", expected.mean, actual.mean, expected.rms)
    yield compared("min", expected.min, actual.min, peak)
    yield compared("max", expected.max, actual.max, peak)
    pairs = list(zip(expected.samples, actual.samples, strict=True))
    positions = sample_positions(name, math.prod(expected.shape))
    for position, (was, now) in zip(positions, pairs, strict=True):
        yield compared(f"value at flat index {position}", was, now, peak)
    level = max(expected.rms, _rms([was for was, _ in pairs]))
    difference = _rms([now - was for was, now in pairs])
    text = f"tensor {name!r}, difference of the sampled values: rms {difference:.3g} at {level:.3g}"
    yield Difference(name, _ratio(difference, level), text)


def _rms(values: list[float]) -> float:
    return math.sqrt(math.fsum(value * value for value in values) / len(values))


def _ratio(difference: float, scale: float) -> float:
    if difference == 0.0:
        return 0.0
    return difference / scale if scale > 0 else math.inf
