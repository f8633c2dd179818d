"""Convolution of signals: direct, by FFT, and in partitions with a state."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from harness.packs.problems import DSP, SEVERAL, Array, Draw, Problem


def convolved(x: Tensor, impulse: Tensor) -> Tensor:
    """Return the full convolution [n + taps - 1] of ``x`` [n] with ``impulse`` [taps], directly."""
    taps = impulse.shape[-1]
    padded = torch.nn.functional.pad(x, (taps - 1, taps - 1))
    return padded.unfold(-1, taps, 1) @ impulse.flip(-1)


def _given(draw: Draw, n: int, taps: int) -> tuple[dict[str, Array], dict[str, Array]]:
    return {"x": draw(n)}, {"impulse": draw(taps, scale=taps**-0.5)}


def _cases(draw: Draw, **sizes: tuple[int, int]) -> Iterator[Problem]:
    """Yield a case for each number of samples and of taps."""
    for name, (n, taps) in sizes.items():
        yield Problem(name, convolved, *_given(draw, n, taps), levels=name == "basic")


_LAYOUTS = {"x": "[sample]", "impulse": "[tap]", "y": "[sample]"}


@DSP.operation("convolve_direct", _LAYOUTS)
def convolve_direct(draw: Draw) -> Iterator[Problem]:
    """y[t] = sum(impulse[k] x[t - k]), full: n + taps - 1 samples, by its definition."""
    yield from _cases(
        draw, basic=(50, 7), longer_impulse=(5, 20), one_tap=(9, 1), one_sample=(1, 6)
    )


@DSP.operation("convolve_fft", _LAYOUTS, bounds=SEVERAL)
def convolve_fft(draw: Draw) -> Iterator[Problem]:
    """The same by products of spectra; transforms of at least n + taps - 1 samples, or the end
    comes round to the beginning.
    """
    yield from _cases(draw, basic=(300, 100), just_above_a_power=(200, 58), long=(3000, 512))


@DSP.operation(
    "convolve_partitioned",
    _LAYOUTS
    | {
        "y": "[sample]: what the blocks of x give, one after the other",
        "tail": "[taps - 1]: what blocks of zeros would give then",
        "after_reset": "[block]: the first block of x once more, after a reset",
        "without_reset": "[block]: the same, without one",
    },
    bounds=SEVERAL,
)
def convolve_partitioned(draw: Draw) -> Iterator[Problem]:
    """Convolution of a stream in blocks: y has as many samples as x, without latency, and the state
    carries what is still to come.
    """

    def compute(x: Tensor, impulse: Tensor, block: int) -> dict[str, Tensor]:
        full = convolved(x, impulse)
        again = convolved(torch.cat([x, x[:block]]), impulse)
        return {
            "y": full[: x.shape[-1]],
            "tail": full[x.shape[-1] :],
            "after_reset": convolved(x[:block], impulse)[:block],
            "without_reset": again[x.shape[-1] : x.shape[-1] + block],
        }

    for name, blocks, block, taps in (
        ("one_partition", 6, 32, 20),
        ("partitions", 5, 32, 100),
        ("uneven_last_partition", 4, 16, 41),
        ("blocks_of_one", 12, 1, 5),
    ):
        given, parameters = _given(draw, blocks * block, taps)
        levels = name == "partitions"
        attributes = {"block": block}
        yield Problem(name, compute, given, parameters, attributes, levels=levels)
