"""Packages of other converters: how their inputs and outputs map to the model contract.

The contract is that of `harness.subjects.htdemucs`: ``spectrogram`` and ``audio`` in, ``freq`` and
``time`` out. A stranger's package computes the same under other names and in another layout: real
and imaginary parts apart or in another order, the Nyquist bin and the frames at the edges kept,
stems folded into channels, the normalisation left to its caller, masks in the place of spectra, the
STFT inside, one branch alone. An `Adapter` says which tensor each of its inputs and outputs is, in
which axes; it is a TOML file beside the package (`harness.adapters.files`).

=============  =====================================================================
`layout`       one tensor: axes, order of parts, Nyquist bin, edges; both directions
`adapter`      all inputs and outputs of a package
`files`        an adapter as TOML
`candidates`   what a tensor of some shape can be
`guessing`     the candidates, run and held against PyTorch
`view`         a package that takes the contract's inputs and shows its outputs
=============  =====================================================================

What it maps, it maps without loss or not at all: both directions of a layout are inverses. It moves
numbers, and never changes one but where a layout says so (normalisation, masks), so an error of a
package stays in what it is judged by.
"""

from harness.adapters.adapter import Adapter
from harness.adapters.files import adapter_beside, adapter_path, read_adapter, write_adapter
from harness.adapters.guessing import Guess, guess_adapter
from harness.adapters.layout import Port, Sizes
from harness.adapters.view import AdaptedModel, AdaptedSession

__all__ = [
    "AdaptedModel",
    "AdaptedSession",
    "Adapter",
    "Guess",
    "Port",
    "Sizes",
    "adapter_beside",
    "adapter_path",
    "guess_adapter",
    "read_adapter",
    "write_adapter",
]
