"""The pack ``htdemucs``: one segment through the whole network, with a tap behind every block.

It knows no subject: who has a network hands in its values. Two cases, which are the two ways in
which the network is run:

=============  ==============================================================================
``full``       both branches; the stems are the inverse STFT of ``freq``, plus ``time``
``time_only``  the time branch alone: nothing behind the cross-transformer's last layer in the
               frequency branch is computed, and the stems are ``time``
=============  ==============================================================================

The time branch attends to the frequency branch in the cross-transformer, so ``time_only`` needs the
frequency encoder, too, and has its parameters. Its taps are those of the time branch; those of the
frequency encoder are in ``full``, and the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from harness.packs.building import Answered
from harness.packs.problems import Array, Bounds

NAME: Final = "htdemucs"
SUMMARY: Final = (
    "HTDemucs between its STFT and its inverse, as FullHybridHTDemucs: taps, freq, time and stems "
    "of one segment of music."
)
BOUNDS: Final = Bounds(1e-4, 1e-4, 110.0)
"""FP32 in PyTorch is 127 to 146 dB from float64 on the taps of ``mini``. A tanh GELU, a dropped
bias or permuted heads reach 82 to 97 dB end to end, and less behind the block where they are."""

_LAYOUTS: Final = {
    "audio": "[1, channel, sample]",
    "spectrogram": "[1, channel * (real, imaginary), bin without Nyquist, frame]",
    "freq": "[1, stem, channel * (real, imaginary), bin, frame]",
    "time": "[1, stem, channel, sample]",
    "stems": "[1, stem, channel, sample]",
}
_BEHIND_THE_TRANSFORMER: Final = ("decoder.", "channel_downsampler.")


@dataclass(frozen=True)
class NetworkValues:
    """What one run of a network is, in float64.

    Attributes:
        inputs: ``spectrogram`` and ``audio``, float32: what the run really began with.
        parameters: every weight and buffer by its name in the network, float32.
        taps: in the order of computation, ``freq`` and ``time`` last.
        waveform: the inverse STFT of ``freq``.
        attributes: what else one must know: sources, sizes, settings.
        seed: of the signal.
    """

    inputs: Mapping[str, Array]
    parameters: Mapping[str, Array]
    taps: Mapping[str, Array]
    waveform: Array
    attributes: Mapping[str, Any]
    seed: int


def network_cases(values: NetworkValues) -> Iterator[Answered]:
    """Yield the case of each way to run the network."""
    stems = values.waveform + values.taps["time"]
    yield _case("full", values, values.parameters, {**values.taps, "stems": stems})
    # The last layer of the frequency branch, which the time branch doesn't see.
    last = [name for name in values.taps if name.startswith("crosstransformer.layers.")][-1]
    taps = {name: tap for name, tap in values.taps.items() if _is_of_time(name)}
    parameters = {
        name: array
        for name, array in values.parameters.items()
        if not name.startswith((*_BEHIND_THE_TRANSFORMER, f"{last}."))
    }
    yield _case("time_only", values, parameters, taps | {"stems": values.taps["time"]})


def _is_of_time(tap: str) -> bool:
    """Return whether a tap is in the time branch."""
    module = tap.rstrip("0123456789").removesuffix(".")
    return module in ("tencoder", "tdecoder", "norm.time", "time") or module.endswith("_t")


def _case(
    mode: str,
    values: NetworkValues,
    parameters: Mapping[str, Array],
    outputs: Mapping[str, Array],
) -> Answered:
    expected = {
        f"out/{name}": np.array(array, np.float32, order="C") for name, array in outputs.items()
    }
    given = {f"in/{name}": array for name, array in values.inputs.items()}
    given |= {f"param/{name}": array for name, array in parameters.items()}
    return Answered(
        f"{NAME}.{mode}",
        NAME,
        "conversion",
        values.seed,
        {"mode": mode, **values.attributes},
        given,
        expected,
        {name: BOUNDS.tolerance(array) for name, array in expected.items()},
        _LAYOUTS,
    )
