"""One tensor of a package in its own layout, and back: both directions, inverse to each other.

A tensor is at home in *plain* axes, in this order: ``s`` stem, ``c`` audio channel, ``z`` real and
imaginary part, ``f`` bin, ``t`` frame, ``n`` sample. A layout writes them in the words of einops,
as the package has them: ``1 (c z) f t``, ``s c n``, ``1 (s z c) f t``. Axes of size 1 are not
written; a ``1`` stands where the package has one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from einops import rearrange
from torch import Tensor

from harness.audio.contract import Geometry
from harness.errors import ContractError, ParityError
from harness.subjects import Network
from harness.subjects.protocol import sound_of

PLAIN: Final[Mapping[str, str]] = {
    "spectrogram": "czft",
    "audio": "cn",
    "spectrogram mean": "",
    "spectrogram deviation": "",
    "audio mean": "",
    "audio deviation": "",
    "freq": "sczft",
    "mask": "sczft",
    "magnitude mask": "scft",
    "time": "scn",
    "stems": "scn",
}
"""The axes of what a package's tensor can be; those of statistics are none."""
STATISTICS: Final = tuple(name for name, axes in PLAIN.items() if not axes)
INPUTS: Final = ("spectrogram", "audio", *STATISTICS)
OUTPUTS: Final = ("freq", "mask", "magnitude mask", "time", "stems")
PARTS: Final = ("real imag", "imag real", "real", "imag")
_PART_AXIS: Final = -3  # of every plain tensor that is complex
EDGE_FRAMES: Final = 2
"""That Demucs cuts off on either side of its STFT."""
_AXES: Final = re.compile(r"(?:(?:1|[sczftn]|\((?:[sczftn] ?)+\))(?: |$))*")


@dataclass(frozen=True)
class Port:
    """What one input or output of a package is.

    Attributes:
        tensor: a key of `PLAIN`.
        axes: in the words of einops.
        parts: order of real and imaginary part along ``z``, or the only part where there is none;
            "" of what is not complex.
        nyquist: whether the Nyquist bin, which the network doesn't see, is there.
        edges: whether the two frames on either side that Demucs cuts off are there.
        normalised: whether it is normalised, which the contract leaves to the network.
        stem: of which stem it is alone; "" for all of them.
    """

    tensor: str
    axes: str
    parts: str = ""
    nyquist: bool = False
    edges: bool = False
    normalised: bool = False
    stem: str = ""

    def __post_init__(self) -> None:
        if self.tensor not in PLAIN:
            raise ParityError(f"tensor {self.tensor!r}: expected one of {', '.join(PLAIN)}")
        letters = [letter for letter in self.axes if letter.isalpha()]
        if not _AXES.fullmatch(self.axes) or len({*letters}) != len(letters):
            raise ParityError(
                f"axes {self.axes!r} of {self.tensor}: expected axes of {self.plain or 'none'} as "
                "in '1 (c z) f t'"
            )
        foreign = [letter for letter in letters if letter not in self.plain]
        if foreign:
            raise ParityError(f"axes {self.axes!r}: {self.tensor} has no axis {foreign[0]!r}")
        spectral = "f" in PLAIN[self.tensor]
        if (self.nyquist or self.edges) and not spectral:
            raise ParityError(f"{self.tensor} has neither a Nyquist bin nor frames at its edges")
        if self.normalised and (self.tensor in STATISTICS or "mask" in self.tensor):
            raise ParityError(f"{self.tensor} is never normalised")
        if self.stem and "s" not in PLAIN[self.tensor]:
            raise ParityError(f"{self.tensor} is of no stem")
        if self.parts not in (PARTS if "z" in PLAIN[self.tensor] else ("",)):
            raise ParityError(
                f"parts {self.parts!r} of {self.tensor}: expected one of {', '.join(PARTS)}"
            )

    @property
    def plain(self) -> str:
        """The plain axes of this tensor: without ``z`` of one part, without ``s`` of one stem."""
        gone = ("z" if self.parts in ("real", "imag") else "") + ("s" if self.stem else "")
        return "".join(axis for axis in PLAIN[self.tensor] if axis not in gone)


@dataclass(frozen=True)
class Sizes:
    """What a layout needs to know of a network: how long every axis is.

    Attributes:
        sources: names of its stems, in order.
        geometry: of its inputs.
    """

    sources: tuple[str, ...]
    geometry: Geometry

    @classmethod
    def of(cls, network: Network) -> Sizes:
        """Return those of a network.

        Raises:
            ParityError: it is none with the contract's inputs and outputs.
        """
        if {*network.interface.inputs} != {"spectrogram", "audio"}:
            raise ParityError(
                f"{network.name} takes {', '.join(network.interface.inputs)}; adapters are for "
                "networks that take a spectrogram and audio, as HTDemucs does"
            )
        return cls(network.sources, sound_of(network))

    def lengths(self, port: Port) -> dict[str, int]:
        """Return the sizes of the plain axes of a port."""
        sizes = {
            "s": len(self.sources),
            "c": self.geometry.channels,
            "z": 2,
            "f": self.geometry.frequency_bins + port.nyquist,
            "t": self.geometry.frames + 2 * EDGE_FRAMES * port.edges,
            "n": self.geometry.segment_length,
        }
        return {axis: sizes[axis] for axis in port.plain}

    def shape(self, port: Port) -> tuple[int, ...]:
        """Return the shape of a port's tensor in the package.

        Raises:
            ContractError: its axes leave one out that has more than one place.
        """
        sizes = self.lengths(port)
        missing = [axis for axis, size in sizes.items() if size > 1 and axis not in port.axes]
        if missing:
            raise ContractError(
                f"axes {port.axes!r} of {port.tensor} lack {missing[0]!r}, which has "
                f"{sizes[missing[0]]} places"
            )
        return tuple(
            math.prod(sizes[axis] for axis in group if axis.isalpha())
            for group in re.findall(r"\([^)]*\)|\S", port.axes)
        )


def arranged(plain: Tensor, port: Port) -> Tensor:
    """Return a tensor of plain axes as the package has it.

    Args:
        plain: of a port's plain axes; complex ones have both parts.
        port: what the package has.
    """
    if port.parts in ("real", "imag"):
        plain = plain.select(_PART_AXIS, int(port.parts == "imag"))
    elif port.parts == "imag real":
        plain = plain.flip(_PART_AXIS)
    sizes = dict(zip(port.plain, plain.shape, strict=True))
    kept = plain.reshape([size for axis, size in sizes.items() if axis in port.axes])
    return rearrange(kept, f"{_names(port)} -> {port.axes}")


def restored(made: Tensor, port: Port, sizes: Sizes) -> Tensor:
    """Return a package's tensor in plain axes: what `arranged` was given, but for a lost part.

    Raises:
        ContractError: it has another shape than the port has.
    """
    if tuple(made.shape) != sizes.shape(port):
        raise ContractError(
            f"a tensor of shape {list(made.shape)} is no {port.tensor} in axes {port.axes!r}, "
            f"which has {list(sizes.shape(port))}"
        )
    lengths = sizes.lengths(port)
    known = {axis: length for axis, length in lengths.items() if axis in port.axes}
    plain = rearrange(made, f"{port.axes} -> {_names(port)}", **known)
    plain = plain.reshape(tuple(lengths.values()))
    return plain.flip(_PART_AXIS) if port.parts == "imag real" else plain


def _names(port: Port) -> str:
    return " ".join(axis for axis in port.plain if axis in port.axes)


def extended(spectrum: Tensor, port: Port, full: Tensor | None = None) -> Tensor:
    """Return a spectrum [..., bins, frames] with the Nyquist bin and the edges that a port has.

    Args:
        spectrum: without them.
        port: what the package has.
        full: what stands there, [..., bins + 1, frames + 4]; zeros if none is given, which is what
            Demucs puts there on the way back.
    """
    *rest, bins, frames = spectrum.shape
    if full is None:
        full = spectrum.new_zeros(*rest, bins + 1, frames + 2 * EDGE_FRAMES)
    whole = full.clone()
    whole[..., :bins, EDGE_FRAMES : EDGE_FRAMES + frames] = spectrum
    whole = whole if port.nyquist else whole[..., :bins, :]
    return whole if port.edges else whole[..., EDGE_FRAMES : EDGE_FRAMES + frames]


def cropped(spectrum: Tensor, port: Port) -> Tensor:
    """Return a spectrum [..., bins, frames] without the Nyquist bin and the edges."""
    bins = spectrum.shape[-2] - port.nyquist
    first = EDGE_FRAMES if port.edges else 0
    return spectrum[..., :bins, first : spectrum.shape[-1] - first]


def stacked(parts: Mapping[str, Tensor]) -> Tensor:
    """Return real and imaginary part [..., f, t] as one tensor [..., z, f, t]."""
    return torch.stack([parts["real"], parts["imag"]], dim=_PART_AXIS)
