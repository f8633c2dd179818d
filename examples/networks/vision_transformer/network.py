"""ViT of Hugging Face's transformers, small."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import ViTConfig, ViTForImageClassification


class Logits(nn.Module):
    """The logits alone, as a tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [1, 10] of an image [1, 3, 64, 64]."""
        return self.model(image).logits


def make() -> nn.Module:
    """Return the network with the same weights each time."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=96,
        image_size=64,
        patch_size=16,
        num_labels=10,
        initializer_range=0.2,
    )
    return Logits(ViTForImageClassification(config).eval())
