"""The encoder of Whisper from Hugging Face's transformers, small."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder


class Encoder(nn.Module):
    """The last hidden states alone, as a tensor."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, mel: Tensor) -> Tensor:
        """Return states [1, 50, 48] of a mel spectrogram [1, 40, 100]."""
        return self.encoder(mel).last_hidden_state


def make() -> nn.Module:
    """Return the encoder with the same weights each time."""
    torch.manual_seed(0)
    config = WhisperConfig(
        num_mel_bins=40,
        d_model=48,
        encoder_layers=3,
        encoder_attention_heads=3,
        encoder_ffn_dim=96,
        max_source_positions=50,
        init_std=0.2,
    )
    return Encoder(WhisperEncoder(config).eval())
