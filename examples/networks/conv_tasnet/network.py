"""Conv-TasNet (Luo and Mesgarani 2019), small: waveform in, waveforms of two speakers out.

A learned filter bank, a stack of dilated depthwise convolutions that estimates a mask for each
speaker, and a transposed filter bank; norms are global, over channels and time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FILTERS, KERNEL, BOTTLENECK, HIDDEN, BLOCKS, REPEATS, SPEAKERS = 32, 16, 16, 32, 3, 2, 2


class Block(nn.Module):
    """A dilated depthwise convolution between two pointwise ones; returns residual and skip."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.expand = nn.Conv1d(BOTTLENECK, HIDDEN, 1)
        self.prelu1, self.norm1 = nn.PReLU(), nn.GroupNorm(1, HIDDEN)
        self.depthwise = nn.Conv1d(
            HIDDEN, HIDDEN, 3, padding=dilation, dilation=dilation, groups=HIDDEN
        )
        self.prelu2, self.norm2 = nn.PReLU(), nn.GroupNorm(1, HIDDEN)
        self.residual = nn.Conv1d(HIDDEN, BOTTLENECK, 1)
        self.skip = nn.Conv1d(HIDDEN, BOTTLENECK, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return x after the block, and what goes to the mask."""
        y = self.norm1(self.prelu1(self.expand(x)))
        y = self.norm2(self.prelu2(self.depthwise(y)))
        return x + self.residual(y), self.skip(y)


class ConvTasNet(nn.Module):
    """Separates one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, FILTERS, KERNEL, stride=KERNEL // 2, bias=False)
        self.norm = nn.GroupNorm(1, FILTERS)
        self.bottleneck = nn.Conv1d(FILTERS, BOTTLENECK, 1)
        self.blocks = nn.ModuleList(Block(2**i) for _ in range(REPEATS) for i in range(BLOCKS))
        self.prelu = nn.PReLU()
        self.mask = nn.Conv1d(BOTTLENECK, SPEAKERS * FILTERS, 1)
        self.decoder = nn.ConvTranspose1d(FILTERS, 1, KERNEL, stride=KERNEL // 2, bias=False)

    def forward(self, mixture: Tensor) -> Tensor:
        """Return waveforms [1, SPEAKERS, n] of a waveform [1, 1, n]."""
        features = torch.relu(self.encoder(mixture))
        x, total = self.bottleneck(self.norm(features)), 0.0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        masks = torch.sigmoid(self.mask(self.prelu(total))).reshape(1, SPEAKERS, FILTERS, -1)
        masked = (masks * features[:, None]).reshape(SPEAKERS, FILTERS, -1)
        return self.decoder(masked).reshape(1, SPEAKERS, -1)


def make() -> nn.Module:
    """Return the network with the same weights each time."""
    torch.manual_seed(0)
    return ConvTasNet()
