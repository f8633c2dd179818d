"""What a tensor of some shape can be: every port of the contract that has that shape.

Only shapes speak here. Names narrow what numbers would have to tell apart at a price: an input
called ``..._imag`` is tried as the imaginary part alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from harness.adapters.layout import PLAIN, STATISTICS, Port, Sizes

_MERGED: Final = "scz"
"""Axes that share a dimension; nobody folds bins or samples into anything."""
_HINTS: Final[Mapping[str, tuple[str, ...]]] = {
    # What a name says, and the words in it that say so.
    "imag": ("imag",),
    "real": ("real",),
    "mean": ("mean", "mu"),
    "deviation": ("std", "dev", "sigma", "scale"),
}
_ONE_STEM: Final = ("freq", "time", "stems")


def input_ports(name: str, shape: Sequence[int], sizes: Sizes) -> list[Port]:
    """Return what an input can be, without its normalisation."""
    ports = list(_ports("spectrogram", shape, sizes)) + list(_ports("audio", shape, sizes))
    if math.prod(shape) == 1:
        ports += [Port(tensor, " ".join("1" * len(shape))) for tensor in STATISTICS]
    return _hinted(name, ports)


def output_ports(name: str, shape: Sequence[int], sizes: Sizes) -> list[Port]:
    """Return what an output can be, without its normalisation."""
    ports = [
        port
        for tensor in ("freq", "time", "stems", "mask", "magnitude mask")
        for port in _ports(tensor, shape, sizes)
        if "mask" not in tensor or port.parts not in ("real", "imag")  # half of one shows nothing
    ]
    if len(sizes.sources) > 1:
        ports += [
            port
            for tensor in _ONE_STEM
            for stem in sizes.sources
            for port in _ports(tensor, shape, sizes, stem)
        ]
    return ports


def _ports(tensor: str, shape: Sequence[int], sizes: Sizes, stem: str = "") -> Iterator[Port]:
    """Yield the ports of a tensor that have a shape."""
    orders = ("real imag", "imag real", "real", "imag") if "z" in PLAIN[tensor] else ("",)
    kept = (False, True) if "f" in PLAIN[tensor] else (False,)
    for parts, nyquist, edges in itertools.product(orders, kept, kept):
        port = Port(tensor, "", parts, nyquist, edges, stem=stem)
        lengths = {axis: size for axis, size in sizes.lengths(port).items() if size > 1}
        for axes in _arrangements(tuple(shape), lengths):
            yield replace(port, axes=axes)


def _arrangements(shape: tuple[int, ...], lengths: Mapping[str, int]) -> Iterator[str]:
    """Yield every way in which axes of these lengths make a shape, in the words of einops."""
    if not shape:
        if not lengths:
            yield ""
        return
    size, rest = shape[0], shape[1:]
    if size == 1:
        for tail in _arrangements(rest, lengths):
            yield f"1 {tail}".rstrip()
    for group in _groups(size, lengths):
        left = {axis: length for axis, length in lengths.items() if axis not in group}
        first = group if len(group) == 1 else f"({' '.join(group)})"
        for tail in _arrangements(rest, left):
            yield f"{first} {tail}".rstrip()


def _groups(size: int, lengths: Mapping[str, int]) -> Iterator[str]:
    """Yield the axes, in order, that make one dimension."""
    yield from (axis for axis, length in lengths.items() if length == size)
    merged = [axis for axis in lengths if axis in _MERGED]
    for count in range(2, len(merged) + 1):
        for group in itertools.permutations(merged, count):
            if math.prod(lengths[axis] for axis in group) == size:
                yield "".join(group)


def _hinted(name: str, ports: list[Port]) -> list[Port]:
    """Return those that a name speaks of, or all of them if it speaks of none."""
    for what, words in _HINTS.items():
        if any(word in name.lower() for word in words):
            fitting = [port for port in ports if port.parts == what or port.tensor.endswith(what)]
            ports = fitting or ports
    for kind, words in (("audio", ("time", "audio", "wave")), ("spectrogram", ("spec", "freq"))):
        if any(word in name.lower() for word in words):
            ports = [port for port in ports if port.tensor.startswith(kind)] or ports
    return ports
