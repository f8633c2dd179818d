"""A network for tests: the whole architecture, small enough to be converted in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from demucs.htdemucs import HTDemucs


def narrow_network(sources: Sequence[str], *, t_layers: int, bottom_channels: int = 16) -> HTDemucs:
    """Return an HTDemucs with every kind of block: shallow, narrow, a quarter of a second long.

    With 48 ``bottom_channels`` the transformer has weights that are large enough to be compressed.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = HTDemucs(
            list(sources),
            channels=8,
            depth=2,
            bottom_channels=bottom_channels,
            t_layers=t_layers,
            t_heads=2,
            dconv_depth=1,
            segment=Fraction(1, 4),
            use_train_segment=True,
        )
        for name, parameter in model.named_parameters():
            if name.endswith(".scale"):  # untrained layer scales hide what stands behind them
                torch.nn.init.constant_(parameter, 0.5)
    return model.eval()
