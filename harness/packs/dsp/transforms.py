"""Real FFTs and their packings, STFT and inverse, windows and what they add up to."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.packs.problems import DSP, SEVERAL, Bounds, Draw, Problem

_PAIRS = "[..., bin, 2]: real, imaginary"
_PACKED = (
    "[..., bin, 2] with n/2 bins: bin 0 holds 0 Hz and, in place of its imaginary part, Nyquist"
)
_SPECTRUM = "[channel, bin, frame, 2]: real, imaginary"
_SUMS = Bounds(1e-5, 2e-6, 110.0)


def _packed(spectrum: Tensor) -> Tensor:
    """Return n/2 pairs of the n/2 + 1 bins of a real transform of even length."""
    pairs = torch.view_as_real(spectrum[..., :-1]).clone()
    pairs[..., 0, 1] = spectrum[..., -1].real
    return pairs


@DSP.operation("rfft", {"x": "[..., n]", "y": _PAIRS}, bounds=SEVERAL)
def rfft(draw: Draw) -> Iterator[Problem]:
    """y[k] = scale * sum(x[t] exp(-2 pi i k t / n)) for k = 0 ... n/2: n/2 + 1 pairs."""

    def compute(x: Tensor, scale: float) -> Tensor:
        return torch.view_as_real(torch.fft.rfft(x) * scale)

    for name, shape in (
        ("power_of_two", (2, 64)),
        ("even", (1, 60)),
        ("odd", (1, 45)),
        ("prime", (1, 31)),
        ("long", (1, 4096)),
        ("two", (1, 2)),
        ("one", (1, 1)),
    ):
        given = {"x": draw(*shape)}
        yield Problem(name, compute, given, attributes={"scale": 1.0}, levels=name == "long")
    yield Problem("orthonormal", compute, {"x": draw(1, 64)}, attributes={"scale": 0.125})


@DSP.operation("rfft_packed", {"x": "[..., n]", "y": _PACKED}, bounds=SEVERAL)
def rfft_packed(draw: Draw) -> Iterator[Problem]:
    """The real FFT as n/2 pairs, the Nyquist value in the imaginary part of bin 0. Scale 2 is that
    of vDSP_fft_zrip.
    """

    def compute(x: Tensor, scale: float) -> Tensor:
        return _packed(torch.fft.rfft(x) * scale)

    yield Problem("textbook", compute, {"x": draw(2, 64)}, attributes={"scale": 1.0})
    yield Problem("doubled", compute, {"x": draw(2, 64)}, attributes={"scale": 2.0}, levels=True)


@DSP.operation("irfft", {"x": _PAIRS, "y": "[..., n]"}, bounds=SEVERAL)
def irfft(draw: Draw) -> Iterator[Problem]:
    """The inverse of rfft: y[t] = scale / n * (sum over all n bins of x[k] exp(2 pi i k t / n)).
    Imaginary parts of 0 Hz and Nyquist are ignored.
    """

    def compute(x: Tensor, n: int, scale: float) -> Tensor:
        y: Tensor = torch.fft.irfft(torch.view_as_complex(x), n=n) * scale
        return y

    for name, n in (("even", 64), ("odd", 45), ("long", 4096)):
        given = {"x": draw(1, n // 2 + 1, 2)}
        yield Problem(name, compute, given, attributes={"n": n, "scale": 1.0})


def window_of(kind: str, n: int) -> Tensor:
    """Return a window in float64: ``hann`` or ``hamming``, ``periodic`` or ``symmetric``."""
    shape, _, symmetry = kind.partition(" ")
    base = 0.54 if shape == "hamming" else 0.5
    turns = torch.arange(n, dtype=torch.float64) / (n if symmetry == "periodic" else n - 1)
    return base - (1.0 - base) * torch.cos(2 * math.pi * turns)


@DSP.operation(
    "stft",
    {"x": "[channel, sample]", "y": _SPECTRUM},
    bounds=SEVERAL,
    window="hann periodic",
    center="n_fft / 2 samples are reflected on both ends, the edge itself not repeated",
)
def stft(draw: Draw) -> Iterator[Problem]:
    """y[k, m] = scale * sum(window[t] x[m hop + t - n_fft / 2] exp(-2 pi i k t / n_fft))."""

    def compute(x: Tensor, n_fft: int, hop: int, scale: float) -> Tensor:
        window = window_of("hann periodic", n_fft).to(x.dtype)
        found = torch.stft(x, n_fft, hop, window=window, center=True, return_complex=True)
        return torch.view_as_real(found * scale)

    for name, samples, n_fft, hop, scale in (
        ("small", 200, 32, 8, 1.0),
        ("half_overlap", 150, 30, 15, 1.0),
        ("orthonormal", 260, 64, 16, 0.125),
        ("htdemucs", 9000, 4096, 1024, 1.0 / 64.0),
    ):
        attributes = {"n_fft": n_fft, "hop": hop, "scale": scale}
        levels = name == "htdemucs"
        yield Problem(name, compute, {"x": draw(2, samples)}, attributes=attributes, levels=levels)


@DSP.operation(
    "istft",
    {"x": _SPECTRUM, "y": "[channel, sample]"},
    bounds=SEVERAL,
    window="hann periodic",
    normalisation="divided by the sum of the squared windows at each sample",
)
def istft(draw: Draw) -> Iterator[Problem]:
    """The inverse of stft: windowed inverse transforms are added, and divided by the sum of the
    squared windows; n_fft / 2 samples are cut from both ends.
    """

    def compute(x: Tensor, n_fft: int, hop: int, scale: float, length: int) -> Tensor:
        window = window_of("hann periodic", n_fft).to(x.dtype)
        spectrum = torch.view_as_complex(x) / scale
        return torch.istft(spectrum, n_fft, hop, window=window, center=True, length=length)

    for name, length, n_fft, hop, scale in (
        ("small", 200, 32, 8, 1.0),
        ("orthonormal", 256, 64, 16, 0.125),
        ("htdemucs", 8192, 4096, 1024, 1.0 / 64.0),
    ):
        frames, bins = 1 + length // hop, n_fft // 2 + 1
        attributes = {"n_fft": n_fft, "hop": hop, "scale": scale, "length": length}
        # Not the transform of anything: an inverse that relies on consistency is found out.
        yield Problem(name, compute, {"x": draw(1, bins, frames, 2)}, attributes=attributes)


@DSP.operation(
    "cola",
    {"y": "[n_fft]: the window", "sum": "[hop]", "square_sum": "[hop]"},
    bounds=_SUMS,
)
def cola(draw: Draw) -> Iterator[Problem]:
    """A window, and the sums over all its shifts by hop of it and of its squares, over one hop."""

    def compute(window: str, n_fft: int, hop: int) -> dict[str, Tensor]:
        values = window_of(window, n_fft)
        folded = values.view(-1, hop)
        return {"y": values, "sum": folded.sum(0), "square_sum": folded.square().sum(0)}

    del draw  # nothing is drawn: the table has no input
    for kind in ("hann periodic", "hann symmetric", "hamming periodic"):
        for n_fft, hop in ((64, 32), (64, 16), (4096, 1024)):
            name = f"{kind.replace(' ', '_')}_{n_fft}_{hop}"
            attributes = {"window": kind, "n_fft": n_fft, "hop": hop}
            yield Problem(name, compute, {}, attributes=attributes)
