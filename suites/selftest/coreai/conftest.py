"""A small network with everything that Core AI computes in its own way, and its assets."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from harness.coreai import Asset, convert_to_coreai, coreai_availability
from harness.subjects.protocol import Extracted, Interface

TAPS = {"convolution": "convolution", "norm": "norm"}


class Small(nn.Module):
    """Normalised input, convolution, group norm, sigmoid, linear: one of each kind."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.convolution = nn.Conv1d(2, 8, 3, padding=1)
            self.norm = nn.GroupNorm(2, 8)
            self.linear = nn.Linear(2048, 16)
        self.interface = Interface({"x": (1, 2, 2048)}, {"y": (1, 8, 16), "mean": (1, 1, 1)}, TAPS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = x.mean((1, 2), keepdim=True), x.std((1, 2), keepdim=True)
        x = (x - mean) / (1e-5 + std)
        return self.linear(torch.sigmoid(self.norm(self.convolution(x)))), mean


@pytest.fixture(scope="session")
def installed() -> None:
    available, reason, _ = coreai_availability()
    if not available:
        pytest.skip(f"not evaluated: {reason}")


@pytest.fixture(scope="session")
def small() -> Extracted:
    return cast(Extracted, Small().eval().requires_grad_(False))


@pytest.fixture(scope="session")
def signal() -> Tensor:
    return 0.3 + torch.randn(1, 2, 2048, generator=torch.Generator().manual_seed(11))


@pytest.fixture(scope="session")
def asset(installed: None, small: Extracted, tmp_path_factory: pytest.TempPathFactory) -> Asset:
    """The small network in FP32, with its taps."""
    path = tmp_path_factory.mktemp("coreai") / "small.aimodel"
    convert_to_coreai(small, path, taps=tuple(TAPS))
    return Asset(Path(path))
