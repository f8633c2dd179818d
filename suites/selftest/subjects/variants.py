"""Twelve ordinary variants of HTDemucs, small, and how other people's trainers would save them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch
from demucs.htdemucs import HTDemucs

from harness.subjects import Architecture
from harness.subjects.seeded import seeded_state
from harness.subjects.weights import model_from_state

BASE: Final[dict[str, Any]] = {
    "sources": ["drums", "bass", "other", "vocals"],
    "channels": 8,
    "depth": 4,
    "dconv_mode": 3,
    "bottom_channels": 0,
    "t_layers": 1,
    "t_heads": 2,
    "segment": Fraction(1, 2),
}
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "segment of 10 s": {"segment": 10},
    "segment of 11 s": {"segment": 11.0},
    "two stems": {"sources": ["vocals", "other"]},
    "three stems": {"sources": ["speech", "music", "effects"]},
    "renamed stems": {"sources": ["kick", "snare", "toms", "hat"]},
    "reordered stems": {"sources": ["vocals", "other", "bass", "drums"]},
    "48 kHz": {"samplerate": 48_000},
    "mono": {"audio_channels": 1},
    "nfft 2048": {"nfft": 2048},
    "other depth": {"depth": 3, "dconv_depth": 1},
    "other width": {"channels": 24, "growth": 1, "bottom_channels": 32, "t_hidden_scale": 2.0},
    "other layers": {"t_layers": 3, "t_cross_first": True, "t_norm_in": False},
}


def live_model(arguments: dict[str, Any]) -> HTDemucs:
    """Return a network that is constructed with ``arguments``, its weights seeded and alive."""
    rest = {key: value for key, value in arguments.items() if key != "sources"}
    architecture = Architecture("variant", tuple(arguments["sources"]), rest, ("variant",))
    with torch.device("meta"):
        empty = HTDemucs(**arguments)
    return model_from_state(architecture, seeded_state(empty, 7))


def saved(path: Path, arguments: dict[str, Any], state: dict[str, torch.Tensor]) -> Path:
    """Save what Demucs' training exports, and return the file."""
    package = {"klass": HTDemucs, "args": (), "kwargs": dict(arguments), "state": state}
    torch.save(package | {"training_args": {"seed": 42}}, path)
    return path
