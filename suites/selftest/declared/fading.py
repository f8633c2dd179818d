"""A cheap network with an integer input and a state, as a user declares it: two files of text."""

from __future__ import annotations

from pathlib import Path
from typing import Final

NETWORK: Final = '''
import torch
from torch import nn


class Fading(nn.Module):
    """Adds what it was told to half of what it held."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(16, 32)
        self.shape = nn.Sequential(nn.Linear(32, 32), nn.GELU())
        self.mix = nn.Linear(32, 8)
        self.register_buffer("held", torch.zeros(1, 32), persistent=False)

    def forward(self, token, level):
        self.held.mul_(0.5)  # exact in FP16, too
        return self.mix(level * self.shape(self.embed(token)) + self.held)


def make():
    return Fading()


def refuse():
    raise RuntimeError("no weights here")


def number():
    return 3
'''

DECLARATION: Final = """\
name = "fading"
factory = "{module}:make"
outputs = ["scores"]

[inputs]
token = {{ shape = [1], integers = [0, 12], step = 1 }}
level = {{ shape = [1, 32], uniform = [0.5, 2.0] }}

[states]
held = {{ normal = 2.0 }}

[case]
ordinary = {{ seed = 1 }}
loud = {{ seed = 2, gain_db = 20.0 }}
sequence = {{ seed = 3, calls = 4 }}
"""


def declare(folder: Path, module: str) -> Path:
    """Write the network as ``module``, whose name no other test uses, and its ``parity.toml``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(NETWORK, "utf-8")
    file = folder / "parity.toml"
    file.write_text(DECLARATION.format(module=module), "utf-8")
    return file
