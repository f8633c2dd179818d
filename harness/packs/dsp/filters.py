"""Recursive filters in sections of second order."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from harness.packs.problems import DSP, Array, Bounds, Draw, Problem

_RECURSIVE = Bounds(1e-4, 2e-5, 95.0)
"""A pole near the unit circle returns each rounding many times."""


def peaking(frequency: float, gain_db: float, q: float) -> list[float]:
    """Return b0, b1, b2, a0, a1, a2 of a peaking equaliser, a0 = 1.

    Source: Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".

    Args:
        frequency: of the peak, relative to the sample rate.
        gain_db: at the peak.
        q: frequency by bandwidth.
    """
    angle = 2 * math.pi * frequency
    root, alpha = 10 ** (gain_db / 40), math.sin(angle) / (2 * q)
    raw = [1 + alpha * root, -2 * math.cos(angle), 1 - alpha * root]
    raw += [1 + alpha / root, -2 * math.cos(angle), 1 - alpha / root]
    return [value / raw[3] for value in raw]


def lowpass(frequency: float, q: float) -> list[float]:
    """Return b0, b1, b2, a0, a1, a2 of a low-pass filter, a0 = 1; source as `peaking`."""
    angle = 2 * math.pi * frequency
    alpha, cosine = math.sin(angle) / (2 * q), math.cos(angle)
    raw = [(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2, 1 + alpha, -2 * cosine, 1 - alpha]
    return [value / raw[3] for value in raw]


def run_sections(x: Tensor, sections: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Filter ``x`` [n] by ``sections`` [count, 6], in the transposed direct form II.

    Returns:
        The result [n] and the new state [count, 2].
    """
    signal = x.tolist()
    after = []
    for (b0, b1, b2, _, a1, a2), (z1, z2) in zip(sections.tolist(), state.tolist(), strict=True):
        filtered = []
        for sample in signal:
            value = b0 * sample + z1
            z1, z2 = b1 * sample - a1 * value + z2, b2 * sample - a2 * value
            filtered.append(value)
        signal = filtered
        after.append([z1, z2])
    return torch.tensor(signal, dtype=x.dtype), torch.tensor(after, dtype=x.dtype)


def pole_radii(sections: Tensor) -> Tensor:
    """Return the greater distance of each section's poles from 0; stable below 1."""
    radii = []
    for *_, a1, a2 in sections.tolist():
        root = cmath.sqrt(a1 * a1 - 4 * a2)
        radii.append(max(abs(-a1 + root), abs(-a1 - root)) / 2)
    return torch.tensor(radii, dtype=sections.dtype)


@DSP.operation(
    "biquad",
    {
        "x": "[sample]",
        "sections": "[section, 6]: b0, b1, b2, a0, a1, a2 with a0 = 1",
        "y": "[sample]",
        "state": "[section, 2]: z1, z2 after the last sample",
        "pole_radius": "[section]",
    },
    bounds=_RECURSIVE,
    form="transposed direct form II: y = b0 x + z1; z1 = b1 x - a1 y + z2; z2 = b2 x - a2 y",
)
def biquad(draw: Draw) -> Iterator[Problem]:
    """Sections of second order, one after the other. `block` samples are filtered at a time, with
    the state kept between: 1 is sample by sample.
    """

    def compute(x: Tensor, sections: Tensor, block: int) -> dict[str, Tensor]:
        state = torch.zeros(len(sections), 2, dtype=x.dtype)
        parts = []
        for part in x.split(block):
            filtered, state = run_sections(part, sections, state)
            parts.append(filtered)
        y = torch.cat(parts)
        return {"y": y, "state": state, "pole_radius": pole_radii(sections)}

    designs: dict[str, list[list[float]]] = {
        "peak": [peaking(0.05, 6.0, 1.0)],
        "cascade": [peaking(0.01, -9.0, 0.7), lowpass(0.2, 0.7071), peaking(0.1, 4.0, 2.0)],
        "near_unit_circle": [lowpass(0.002, 0.7071)],
        "resonant": [lowpass(0.05, 20.0)],
    }
    for name, rows in designs.items():
        sections: Array = np.asarray(rows, np.float32)
        x = draw(256)
        for kind, block in (("block", 256), ("split", 64), ("samples", 1)):
            if kind == "block" or name == "cascade":
                attributes, parameters = {"block": block}, {"sections": sections}
                levels = name == "cascade" and kind == "block"
                yield Problem(
                    f"{name}_{kind}", compute, {"x": x}, parameters, attributes, levels=levels
                )
