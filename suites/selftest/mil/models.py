"""Public architectures of other kinds than HTDemucs, small, with seeded weights.

Each follows its paper or reference code in structure; sizes are cut so that converting and running
one takes a second or two.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class OpenUnmix(nn.Module):
    """Open-Unmix: fc, bn, tanh; a bidirectional LSTM of three layers beside a skip; fc, fc.

    Source: Stoeter et al., "Open-Unmix - A Reference Implementation for Music Source Separation".
    A magnitude spectrogram [frames, 1, channels, bins] in, the masked one out.
    """

    def __init__(self, bins: int = 65, channels: int = 2, hidden: int = 32, used: int = 48) -> None:
        super().__init__()
        self.bins, self.channels, self.hidden, self.used = bins, channels, hidden, used
        self.fc1 = nn.Linear(used * channels, hidden, bias=False)
        self.bn1 = nn.BatchNorm1d(hidden)
        self.lstm = nn.LSTM(
            hidden, hidden // 2, num_layers=3, bidirectional=True, batch_first=False, dropout=0.4
        )
        self.fc2 = nn.Linear(2 * hidden, hidden, bias=False)
        self.bn2 = nn.BatchNorm1d(hidden)
        self.fc3 = nn.Linear(hidden, bins * channels, bias=False)
        self.bn3 = nn.BatchNorm1d(bins * channels)
        self.input_mean = nn.Parameter(torch.zeros(used))
        self.input_scale = nn.Parameter(torch.ones(used))
        self.output_mean = nn.Parameter(torch.ones(bins))
        self.output_scale = nn.Parameter(torch.ones(bins))

    def forward(self, mix: Tensor) -> Tensor:
        frames = mix.shape[0]
        x = (mix[..., : self.used] + self.input_mean) * self.input_scale
        x = self.bn1(self.fc1(x.reshape(-1, self.channels * self.used)))
        x = torch.tanh(x.reshape(frames, 1, self.hidden))
        x = torch.cat([x, self.lstm(x)[0]], -1)
        x = functional.relu(self.bn2(self.fc2(x.reshape(-1, x.shape[-1]))))
        x = self.bn3(self.fc3(x)).reshape(frames, 1, self.channels, self.bins)
        return functional.relu(x * self.output_scale + self.output_mean) * mix


class Bottleneck(nn.Module):
    """The residual block of ResNet-50: 1x1, 3x3, 1x1, and a projected shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.shortcut = nn.Sequential(
            nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class InvertedResidual(nn.Module):
    """The block of MobileNetV3: expand, depthwise, squeeze and excite, project."""

    def __init__(self, channels: int, expanded: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(
            nn.Conv2d(channels, expanded, 1, bias=False), nn.BatchNorm2d(expanded), nn.Hardswish()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(expanded, expanded, 5, 1, 2, groups=expanded, bias=False),
            nn.BatchNorm2d(expanded),
            nn.Hardswish(),
        )
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(expanded, expanded // 4, 1),
            nn.ReLU(),
            nn.Conv2d(expanded // 4, expanded, 1),
            nn.Hardsigmoid(),
        )
        self.project = nn.Sequential(
            nn.Conv2d(expanded, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        return x + self.project(y * self.squeeze(y))


class ImageNetwork(nn.Module):
    """Stem and bottlenecks of ResNet, a block of MobileNetV3, an upsampled head of a segmenter."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 7, 2, 3, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
        )
        self.blocks = nn.Sequential(
            Bottleneck(16, 8, 1), Bottleneck(32, 16, 2), InvertedResidual(64, 96)
        )
        self.classify = nn.Linear(64, classes)
        self.segment = nn.Conv2d(64, classes, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(self.stem(image))
        mask = functional.interpolate(
            self.segment(x), scale_factor=4.0, mode="bilinear", align_corners=False
        )
        return torch.softmax(self.classify(x.mean((2, 3))), -1), mask


class CachedAttention(nn.Module):
    """One block of a decoder that sees one position at a time and keeps keys and values.

    Source: the key-value cache of "Attention Is All You Need" decoders, as states of Core ML.
    """

    def __init__(self, length: int = 8, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.register_buffer("keys", torch.zeros(1, heads, length, self.size))
        self.register_buffer("values", torch.zeros(1, heads, length, self.size))

    def split(self, x: Tensor) -> list[Tensor]:
        """Return queries, keys and values of ``x``, each [1, heads, positions, size]."""
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        return [part.reshape(1, -1, self.heads, self.size).transpose(1, 2) for part in (q, k, v)]

    def finish(self, x: Tensor, seen: Tensor) -> Tensor:
        """Return the block's result from its input and what attention saw."""
        x = x + self.out(seen.transpose(1, 2).reshape(x.shape))
        return x + self.mlp(self.norm2(x))

    def forward(self, x: Tensor, place: Tensor, mask: Tensor) -> Tensor:
        """``place`` is one at the new position, [length]; ``mask`` is added to the scores."""
        q, k, v = self.split(x)
        here = place.reshape(1, 1, -1, 1)
        self.keys[:] = self.keys * (1 - here) + k * here
        self.values[:] = self.values * (1 - here) + v * here
        scores = q @ self.keys.transpose(2, 3) / math.sqrt(self.size) + mask
        return self.finish(x, torch.softmax(scores, -1) @ self.values)

    def whole(self, x: Tensor) -> Tensor:
        """The same block on a whole sequence [1, length, width] at once, without a cache.

        Keys and values are rounded to FP16, the only type that states of Core ML can have.
        """
        q, k, v = self.split(x)
        k, v = k.half().float(), v.half().float()
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.finish(x, seen)


class Iterated(nn.Module):
    """A loop whose length depends on the values, with a branch inside."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        steps = torch.zeros(1)
        while x.abs().max() > 0.5:
            if x.sum() > 0:  # noqa: SIM108 (TorchScript keeps this one a branch)
                x = torch.tanh(self.linear(x)) * 0.7
            else:
                x = x * 0.6 + 0.05
            steps = steps + 1
        return x, steps


class Enhancer(nn.Module):
    """A fully convolutional encoder and decoder with a skip, for waveforms of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv1d(1, 16, 8, 4, 2)
        self.middle = nn.GRU(16, 16, batch_first=True)
        self.up = nn.ConvTranspose1d(16, 1, 8, 4, 2)

    def forward(self, audio: Tensor) -> Tensor:
        x = functional.gelu(self.down(audio))
        y = self.middle(x.transpose(1, 2))[0].transpose(1, 2)
        return self.up(x + y)


def live(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and statistic of ``module`` a seeded value that matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            fan = tensor[0].numel() if tensor.ndim > 1 else 1
            noise = torch.randn(tensor.shape, generator=generator)
            positive = tensor.ndim == 1 and ("weight" in name or "scale" in name)
            tensor.copy_(1 + 0.2 * noise if positive else noise * 1.5 / math.sqrt(fan + 5))
        for name, tensor in module.named_buffers():
            if name.endswith("running_mean"):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
            elif name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return module.eval()
