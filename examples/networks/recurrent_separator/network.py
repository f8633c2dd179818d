"""A separator like Open-Unmix: three bidirectional LSTM layers over a magnitude spectrogram.

The structure is that of ``openunmix.model.OpenUnmix`` (MIT), narrower: bandwidth, input and output
scaling, dense layers with batch norms, a skip around the recurrent part, and a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS, BINS, BANDWIDTH, FRAMES, HIDDEN = 2, 129, 96, 24, 32


class RecurrentSeparator(nn.Module):
    """Returns the magnitudes of one source."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(BANDWIDTH * CHANNELS, HIDDEN, bias=False)
        self.bn1 = nn.BatchNorm1d(HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN // 2, num_layers=3, bidirectional=True)
        self.fc2 = nn.Linear(HIDDEN * 2, HIDDEN, bias=False)
        self.bn2 = nn.BatchNorm1d(HIDDEN)
        self.fc3 = nn.Linear(HIDDEN, BINS * CHANNELS, bias=False)
        self.bn3 = nn.BatchNorm1d(BINS * CHANNELS)
        self.input_mean = nn.Parameter(torch.randn(BANDWIDTH))
        self.input_scale = nn.Parameter(1 + 0.1 * torch.randn(BANDWIDTH))
        self.output_mean = nn.Parameter(1 + 0.1 * torch.randn(BINS))
        self.output_scale = nn.Parameter(1 + 0.1 * torch.randn(BINS))

    def forward(self, mixture: Tensor) -> Tensor:
        """Mask magnitudes [1, CHANNELS, BINS, FRAMES]."""
        x = mixture.permute(3, 0, 1, 2)
        whole = x
        x = (x[..., :BANDWIDTH] + self.input_mean) * self.input_scale
        x = self.bn1(self.fc1(x.reshape(-1, CHANNELS * BANDWIDTH)))
        x = torch.tanh(x.reshape(FRAMES, 1, HIDDEN))
        x = torch.cat([x, self.lstm(x)[0]], dim=-1)
        x = torch.relu(self.bn2(self.fc2(x.reshape(-1, 2 * HIDDEN))))
        x = self.bn3(self.fc3(x)).reshape(FRAMES, 1, CHANNELS, BINS)
        mask = torch.relu(x * self.output_scale + self.output_mean)
        return (mask * whole).permute(1, 2, 3, 0)


def make() -> nn.Module:
    """Return the network with the same weights each time, its norms as training leaves them."""
    torch.manual_seed(0)
    model = RecurrentSeparator()
    for norm in (model.bn1, model.bn2, model.bn3):
        nn.init.normal_(norm.running_mean, std=0.3)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return model
