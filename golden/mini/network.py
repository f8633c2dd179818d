"""The network of ``mini``, and its weight file.

``mini`` is HTDemucs as published, only narrower: the same segment, depth, heads and layers, and 16
channels for 48. The file is in Demucs' own safetensors format (``klass``, ``args`` and ``kwargs``
as JSON metadata), with the weights as float16.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file
from torch import Tensor

from harness.atomic import atomic_file
from harness.errors import CheckpointError
from harness.subjects import ARCHITECTURES
from harness.subjects.songs import STEMS

ARGUMENTS: Final = ARCHITECTURES["mini"].arguments

LARGEST_BYTES: Final = 8_000_000


def build_network() -> HTDemucs:
    """A new ``mini`` with Demucs' initialisation."""
    return HTDemucs(sources=list(STEMS), **ARGUMENTS)


def rounded_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as float16 on the CPU.

    Raises:
        CheckpointError: a weight is not finite in float16.
    """
    rounded = {name: value.detach().cpu().half().contiguous() for name, value in state.items()}
    for name, value in rounded.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(
                f"weight {name} holds {float(state[name].abs().max())}, which is not finite in "
                "float16; train with a lower learning rate or another seed"
            )
    return rounded


def save_network(path: Path, state: Mapping[str, Tensor], provenance: Mapping[str, Any]) -> int:
    """Write ``state`` (float16) with its architecture and provenance; return the file's size.

    Raises:
        CheckpointError: the file would be larger than ``LARGEST_BYTES``.
    """
    kwargs = {"sources": list(STEMS), **ARGUMENTS}
    segment = ARGUMENTS["segment"]
    kwargs["segment"] = {
        "_type": "fraction",
        "numerator": segment.numerator,
        "denominator": segment.denominator,
    }
    metadata = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": "[]",
        "kwargs": json.dumps(kwargs),
        "provenance": json.dumps(provenance, sort_keys=True),
    }
    with atomic_file(path) as temporary:
        save_file(dict(state), temporary, metadata)
        size = temporary.stat().st_size
        if size > LARGEST_BYTES:
            raise CheckpointError(
                f"{path} would have {size} bytes; the repository takes {LARGEST_BYTES} at most"
            )
    return size
