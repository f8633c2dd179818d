"""Trace the inner network once; every conversion starts from the trace.

In: `FullHybridHTDemucs` in eval mode. Out: a `TracedModel`: the TorchScript graph with the sizes of
the network's own inputs frozen into it, and what a conversion must remember of the PyTorch side.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.jit._trace import TracerWarning

from harness.conversion.scopes import ModuleTree
from harness.conversion.tap_mapping import TapSource
from harness.subjects.surgery import FullHybridHTDemucs
from harness.subjects.taps import capture_taps, tap_module_path


@dataclass(frozen=True)
class TracedModel:
    """A traced network and what is known of it.

    Attributes:
        script: takes (spectrogram, audio), returns (freq, time).
        sources: names of the stems in the order of the outputs' second axis.
        spectrogram_shape: [1, 2 * audio channels, n_fft / 2, frames].
        audio_shape: [1, audio channels, samples].
        modules: names of the network's modules.
        taps: where each tap comes from, in the order of computation.
    """

    script: torch.jit.ScriptModule
    sources: tuple[str, ...]
    spectrogram_shape: tuple[int, ...]
    audio_shape: tuple[int, ...]
    modules: ModuleTree
    taps: Mapping[str, TapSource]

    @property
    def freq_shape(self) -> tuple[int, ...]:
        """Shape of the output ``freq``: [1, sources, *spectrogram]."""
        return (1, len(self.sources), *self.spectrogram_shape[1:])

    @property
    def time_shape(self) -> tuple[int, ...]:
        """Shape of the output ``time``: [1, sources, *audio]."""
        return (1, len(self.sources), *self.audio_shape[1:])


def trace_inner_model(inner: FullHybridHTDemucs) -> TracedModel:
    """Trace ``inner`` at the sizes of its own inputs.

    Takes one forward pass for the shapes of the taps and one for the trace. The weights are shared
    with ``inner``, not copied.
    """
    reference = next(inner.parameters())
    # The values don't matter: nothing in the network branches on them.
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(
        torch.randn(shape, generator=generator).to(reference)
        for shape in (inner.spectrogram_shape, inner.audio_shape)
    )
    taps = {
        name: TapSource(tap_module_path(name), tuple(tensor.shape))
        for name, tensor in capture_taps(inner, *inputs).items()
    }
    with _without_attention_fastpath(), torch.no_grad(), warnings.catch_warnings():
        # Each warning says that a Python number became a constant of the graph. It is meant: the
        # model contract fixes every size.
        warnings.simplefilter("ignore", TracerWarning)
        warnings.filterwarnings("ignore", "`torch.jit.trace", DeprecationWarning)
        # The check runs the network again, which takes five times as long as the trace itself, to
        # find data-dependent control flow. The conversion suite compares outputs anyway.
        script = torch.jit.trace(inner, inputs, check_trace=False)
    return TracedModel(
        script=script,
        sources=inner.sources,
        spectrogram_shape=inner.spectrogram_shape,
        audio_shape=inner.audio_shape,
        modules=ModuleTree.of(inner),
        taps=taps,
    )


@contextmanager
def _without_attention_fastpath() -> Iterator[None]:
    """Keep nn.MultiheadAttention's fused kernel, which no converter knows, out of the trace."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
