"""Trace what of a subject is converted once; every conversion starts from the trace.

In: a module in eval mode that says what it takes and returns. Out: a `TracedModel`: the TorchScript
graph with the sizes of the network's own inputs frozen into it, and what a conversion must remember
of the PyTorch side.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn
from torch.jit._trace import TracerWarning

from harness.conversion.scopes import ModuleTree
from harness.conversion.tap_mapping import TapSource
from harness.errors import ParityError
from harness.subjects.protocol import Extracted, Interface, plain_attention, run_extracted


@dataclass(frozen=True)
class TracedModel:
    """A traced network and what is known of it.

    Attributes:
        script: takes the inputs in order, returns the outputs in order.
        interface: names and shapes of both.
        modules: names of the network's modules.
        taps: where each tap comes from, in the order of computation.
    """

    script: torch.jit.ScriptModule
    interface: Interface
    modules: ModuleTree
    taps: Mapping[str, TapSource]


def trace_inner_model(inner: Extracted) -> TracedModel:
    """Trace ``inner``, a module in eval mode, at the sizes of its own inputs.

    Takes one forward pass for the shapes of the taps and one for the trace. The weights are shared
    with ``inner``, not copied.

    Raises:
        ParityError: its outputs have other shapes than its interface says.
    """
    module = cast(nn.Module, inner)
    interface = inner.interface
    # The values don't matter: nothing in the network branches on them. Zero is an index of whatever
    # integers may choose from.
    generator = torch.Generator().manual_seed(0)
    inputs = {
        name: torch.zeros(shape, dtype=torch.int32)
        if name in interface.integers
        else torch.randn(shape, generator=generator)
        for name, shape in interface.inputs.items()
    }
    made = run_extracted(inner, inputs, taps=None)
    shapes = {name: tuple(made[name].shape) for name in interface.outputs}
    if shapes != dict(interface.outputs):
        raise ParityError(f"the network returns {shapes}, expected {dict(interface.outputs)}")
    taps = {name: TapSource(path, tuple(made[name].shape)) for name, path in interface.taps.items()}
    with plain_attention(), torch.no_grad(), warnings.catch_warnings():
        # Each warning says that a Python number became a constant of the graph. It is meant: the
        # model contract fixes every size.
        warnings.simplefilter("ignore", TracerWarning)
        warnings.filterwarnings("ignore", "`torch.jit.trace", DeprecationWarning)
        # The check runs the network again, which takes five times as long as the trace itself, to
        # find data-dependent control flow. The conversion suite compares outputs anyway.
        given = tuple(inputs[name] for name in interface.arguments)
        script = torch.jit.trace(module, given, check_trace=False)
    return TracedModel(script, interface, ModuleTree.of(module), taps)
