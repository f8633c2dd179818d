"""All inputs and outputs of a package: from the contract's inputs to its own, and back.

What a package shows of a network is one or several of these, float32, by name:

==================  =======================  ====================================================
``freq``            [1, S, 2C, bins, t]      the contract's
``time``            [1, S, C, n]             the contract's
``stems``           [S, C, n]                where the inverse STFT and the sum are inside
``freq magnitude``  [1, S, C, bins, t]       where it gives a mask for the magnitude of the mixture
==================  =======================  ====================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from harness.adapters.layout import (
    INPUTS,
    OUTPUTS,
    Port,
    Sizes,
    arranged,
    cropped,
    extended,
    restored,
    stacked,
)
from harness.audio.stft import spectrogram_from_waveform, whole_stft
from harness.errors import ContractError, ParityError
from harness.subjects.surgery import NORMALISATION_EPS

_SHOWN: Final = {
    "freq": "freq",
    "mask": "freq",
    "magnitude mask": "freq magnitude",
    "time": "time",
    "stems": "stems",
}
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Adapter:
    """What the inputs and outputs of a package are.

    Attributes:
        inputs, outputs: by the package's own names, all of them.
    """

    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]

    def __post_init__(self) -> None:
        for kind, ports, known in (
            ("input", self.inputs, INPUTS),
            ("output", self.outputs, OUTPUTS),
        ):
            if not ports:
                raise ParityError(f"the adapter names no {kind}: expected {' or '.join(known[:2])}")
            for name, port in ports.items():
                if port.tensor not in known:
                    raise ParityError(
                        f"{kind} {name!r} is a {port.tensor}; expected one of {', '.join(known)}"
                    )

    @property
    def shows(self) -> tuple[str, ...]:
        """What the package shows, in the order of its outputs."""
        return tuple(dict.fromkeys(_SHOWN[port.tensor] for port in self.outputs.values()))

    @property
    def gives_stems(self) -> bool:
        """Whether stems can be made of what it shows."""
        return "stems" in self.shows or {"freq", "time"} <= {*self.shows}

    @property
    def is_linear(self) -> bool:
        """Whether what the package shows is linear in its outputs, whatever its inputs are."""
        ports = self.outputs.values()
        return not any(port.normalised or "mask" in port.tensor for port in ports)

    def feed(self, inputs: Tensors, sizes: Sizes) -> dict[str, Tensor]:
        """Return the package's inputs, float32, of the contract's."""
        spectrum = _by_part(inputs["spectrogram"][0])
        found = _statistics(inputs)
        values = {"audio": inputs["audio"][0], **found}
        made = {}
        for name, port in self.inputs.items():
            if port.tensor == "spectrogram":
                full = None
                if port.nyquist or port.edges:
                    whole = whole_stft(inputs["audio"][0], sizes.geometry.n_fft)
                    full = torch.view_as_real(whole).movedim(-1, 1)
                value = extended(spectrum, port, full)
            else:
                value = values[port.tensor]
            if port.normalised:
                mean, deviation = (found[f"{port.tensor} {s}"] for s in ("mean", "deviation"))
                value = (value - mean) / (NORMALISATION_EPS + deviation)
            made[name] = arranged(value, port).contiguous()
        return made

    def read(self, outputs: Tensors, inputs: Tensors, sizes: Sizes) -> dict[str, Tensor]:
        """Return what the package shows, of its outputs and of the contract's inputs.

        The inputs are not looked at where that `is_linear`.

        Raises:
            ContractError: an output has another shape than the adapter says.
            ParityError: a part or a stem is missing, or is there twice.
        """
        plain: dict[str, dict[tuple[str, str], Tensor]] = {}
        for name, port in self.outputs.items():
            held = plain.setdefault(port.tensor, {})
            part = port.parts if port.parts in ("real", "imag") else ""
            if (port.stem, part) in held:
                raise ParityError(
                    f"the adapter says of two outputs that they are {described(port)}"
                )
            held[port.stem, part] = self.plain_output(name, outputs[name], inputs, sizes)
        made = {}
        for tensor, held in plain.items():
            value = _all_stems(tensor, _both_parts(tensor, held), sizes.sources)
            made[_SHOWN[tensor]] = _in_contract(tensor, value, inputs)
        return {name: made[name].contiguous() for name in self.shows}

    def plain_output(self, name: str, output: Tensor, inputs: Tensors, sizes: Sizes) -> Tensor:
        """Return one output in plain axes, not normalised any more."""
        port = self.outputs[name]
        value = restored(output, port, sizes)
        value = cropped(value, port) if "f" in port.plain else value
        if not port.normalised:
            return value
        found, kind = _statistics(inputs), "spectrogram" if "f" in port.plain else "audio"
        return value * found[f"{kind} deviation"] + found[f"{kind} mean"]

    def expected(self, values: Tensors) -> dict[str, Tensor]:
        """Return what a package should show, of the contract's outputs and of ``stems``."""
        made = {name: values[name] for name in self.shows if name in values}
        if "freq magnitude" in self.shows:
            made["freq magnitude"] = _magnitude(_by_part(values["freq"][0]))[None]
        return made

    def lost(self, inputs: Tensors, half: frozenset[str], sizes: Sizes) -> dict[str, Tensor]:
        """Return the contract's inputs as a package sees those that it takes in FP16.

        Args:
            inputs: the contract's.
            half: the package's names of those.
            sizes: of the network.
        """
        seen, fed = dict(inputs), self.feed(inputs, sizes)
        rounded = {
            name: fed[name].half().float()
            for name, port in self.inputs.items()
            if name in half and port.tensor in ("spectrogram", "audio") and not port.normalised
        }
        parts: dict[tuple[str, str], Tensor] = {}
        for name, value in rounded.items():
            port = self.inputs[name]
            plain = restored(value, port, sizes)
            if port.tensor == "audio":
                seen["audio"] = plain[None]
            else:
                part = port.parts if port.parts in ("real", "imag") else ""
                parts["", part] = cropped(plain, port)
        if parts:
            whole = _both_parts("spectrogram", parts)[""]
            seen["spectrogram"] = whole.reshape(inputs["spectrogram"].shape)
        elif not any(port.tensor == "spectrogram" for port in self.inputs.values()):
            seen["spectrogram"] = spectrogram_from_waveform(seen["audio"], sizes.geometry)
        return seen

    def words(self) -> tuple[str, ...]:
        """Return what was found to be what, one sentence for each input and output."""
        return tuple(
            f"{kind} {name!r} is {described(port)}"
            for kind, ports in (("input", self.inputs), ("output", self.outputs))
            for name, port in ports.items()
        )


def _by_part(spectrum: Tensor) -> Tensor:
    """Return channels [..., 2C, bins, frames] as [..., C, 2, bins, frames]."""
    apart: Tensor = spectrum.unflatten(-3, (-1, 2))
    return apart


def _magnitude(spectrum: Tensor) -> Tensor:
    """Return |X| [..., C, bins, frames] of X [..., C, 2, bins, frames]."""
    size: Tensor = spectrum.pow(2).sum(-3).sqrt()
    return size


def _statistics(inputs: Tensors) -> dict[str, Tensor]:
    """Return the mean and the (unbiased) deviation that HTDemucs normalises its inputs by."""
    made = {}
    for name in ("spectrogram", "audio"):
        made[f"{name} mean"], made[f"{name} deviation"] = inputs[name].mean(), inputs[name].std()
    return made


def _both_parts(tensor: str, held: Mapping[tuple[str, str], Tensor]) -> dict[str, Tensor]:
    """Return what is there of each stem, with its real and imaginary part."""
    made: dict[str, Tensor] = {}
    for stem in dict.fromkeys(stem for stem, _ in held):
        parts = {part: value for (of, part), value in held.items() if of == stem}
        if "" not in parts and len(parts) < 2:
            raise ParityError(f"the package gives the {next(iter(parts))} part of {tensor} alone")
        made[stem] = parts[""] if "" in parts else stacked(parts)
    return made


def _all_stems(tensor: str, held: Mapping[str, Tensor], sources: tuple[str, ...]) -> Tensor:
    if set(held) == {""}:
        return held[""]
    if set(held) != {*sources}:
        lacking = sorted({*sources} - set(held)) or sorted(set(held) - {*sources})
        raise ParityError(
            f"the package gives {tensor} of {', '.join(sorted(held))}; {lacking[0]!r} is not "
            f"in both that and the network's {', '.join(sources)}"
        )
    return torch.stack([held[stem] for stem in sources])


def _in_contract(tensor: str, plain: Tensor, inputs: Tensors) -> Tensor:
    """Return what a plain tensor of all stems shows."""
    if tensor == "stems":
        return plain
    if tensor == "magnitude mask":
        return (plain * _magnitude(_by_part(inputs["spectrogram"][0])))[None]
    if tensor == "mask":
        real, imag, a, b = *plain.unbind(-3), *_by_part(inputs["spectrogram"][0]).unbind(-3)
        plain = torch.stack([real * a - imag * b, real * b + imag * a], dim=-3)
    return (plain if tensor == "time" else plain.flatten(-4, -3))[None]


def described(port: Port) -> str:
    """Return what a port is, in words."""
    words = {
        "mask": "the mask that the mixture's spectrogram is multiplied by (complex)",
        "magnitude mask": "the mask that the mixture's magnitudes are multiplied by",
        "freq": "the frequency branch",
        "time": "the time branch",
        "stems": "the stems, with the inverse STFT inside",
    }.get(port.tensor, f"the {port.tensor}")
    if port.stem:
        words += f" of {port.stem}"
    said = [words, f"in axes {port.axes!r}" if port.axes else ""]
    said += {
        "imag real": ["imaginary part first"],
        "real imag": ["real part first"],
        "real": ["real part alone"],
        "imag": ["imaginary part alone"],
    }.get(port.parts, [])
    said += ["with the Nyquist bin"] * port.nyquist + ["with the frames at its edges"] * port.edges
    said += ["normalised outside of the package"] * port.normalised
    return ", ".join(part for part in said if part)


def check_fits(
    adapter: Adapter, shapes: Mapping[str, Mapping[str, Sequence[int]]], sizes: Sizes
) -> None:
    """Check that a package has the inputs and outputs that an adapter speaks of.

    Args:
        adapter: its adapter.
        shapes: of the package's ``inputs`` and ``outputs``, by name.
        sizes: of the network.

    Raises:
        ContractError: it has others.
    """
    for kind, ports in (("inputs", adapter.inputs), ("outputs", adapter.outputs)):
        expected = {name: sizes.shape(port) for name, port in ports.items()}
        found = {name: tuple(shape) for name, shape in shapes[kind].items()}
        if found != expected:
            raise ContractError(
                f"the package has the {kind} {listed(found)}, but its adapter speaks of "
                f"{listed(expected)}: is it one of this subject? if so, remove the adapter, and "
                "let 'parity adapt' write it again"
            )


def listed(shapes: Mapping[str, Sequence[int]]) -> str:
    """Return names with their shapes, in words."""
    return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())) or "none"
