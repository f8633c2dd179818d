"""An engine and a network of somebody's own, each one file, as docs/extending.md shows them."""

from __future__ import annotations

from typing import Final

NETWORK: Final = """
import torch
from torch import nn

from harness.subjects import Network, network


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(2, 4, 3, padding=1)
        self.second = nn.Conv1d(4, 3, 1)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


@network
class TwoLayers(Network):
    name = "two_layers"
    signal_shape = (1, 2, 512)
    inputs = {"x": (1, 2, 512)}
    outputs = {"y": (1, 3, 512)}
    taps = {"first": "first"}

    def build(self):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            return Layers()
"""

FAULT: Final = """
    has_surgery = True

    def extract(self, model):
        import copy

        other = copy.deepcopy(model)
        other.second.bias.zero_()
        return super().extract(other)
"""
"""A method of the network that loses a bias on the way to the package."""

ENGINE: Final = """
import numpy as np

from harness.engines import Availability, engine, open_engine


class Session:
    def __init__(self, inner):
        self.inner = inner

    def predict(self, inputs, *, taps=()):
        made = self.inner.predict(inputs, taps=taps)
        return {name: value + np.float32(1e-3) for name, value in made.items()}


@engine
class PlusALittle:
    name = "plus_a_little"
    executes = "package"
    numerics = ()
    emulates = True
    gives_taps = False

    def availability(self):
        return Availability(True, "adds a thousandth", "1")

    def open(self, candidate, *, numerics):
        return Session(open_engine("mil", candidate, numerics=numerics))
"""

CASES: Final = """
[case.noise]
kind = "noise"
why = "Every frequency at once."
level_db = -20.0
seed = 42
taps = true
"""
