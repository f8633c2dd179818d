"""A decoder like GPT-2: token by token, keys and values of those before kept in states."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

VOCABULARY, WIDTH, HEADS, LAYERS, CONTEXT = 96, 64, 2, 2, 32


class Attention(nn.Module):
    """Attention of one token to itself and to those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        shape = (1, HEADS, CONTEXT, WIDTH // HEADS)
        self.register_buffer("keys", torch.zeros(shape), persistent=False)
        self.register_buffer("values", torch.zeros(shape), persistent=False)

    def forward(self, x: Tensor, here: Tensor, future: Tensor) -> Tensor:
        """Attend with x [1, 1, WIDTH] at the place ``here`` [1]."""
        query, key, value = (
            part(x).view(1, 1, HEADS, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        # Core ML keeps states in FP16, whatever the rest is computed in.
        self.keys[:, :, here : here + 1] = key.half().float()
        self.values[:, :, here : here + 1] = value.half().float()
        weights = query @ self.keys.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
        mixed = torch.softmax(weights + future, dim=-1) @ self.values
        return self.out(mixed.transpose(1, 2).reshape(1, 1, WIDTH))


class Block(nn.Module):
    """Attention and two dense layers, each behind a norm and beside its input."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.norm2 = nn.LayerNorm(WIDTH)
        self.dense = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, here: Tensor, future: Tensor) -> Tensor:
        """Return x [1, 1, WIDTH] after the block."""
        x = x + self.attention(self.norm1(x), here, future)
        return x + self.dense(self.norm2(x))


class Decoder(nn.Module):
    """One step: the token at a position, and what the states hold of those before."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, token: Tensor, position: Tensor) -> Tensor:
        """Return the logits [1, 1, VOCABULARY] behind ``token`` [1, 1] at ``position`` [1]."""
        future = torch.where(torch.arange(CONTEXT) > position, -1e4, 0.0)
        x = self.token(token) + self.position(position)
        for block in self.blocks:
            x = block(x, position[0], future)
        return self.head(self.norm(x))


def make() -> nn.Module:
    """Return the decoder with the same weights each time."""
    torch.manual_seed(0)
    return Decoder()
