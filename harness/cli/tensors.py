"""Named arrays in files: what commands read as inputs, and what ``parity predict`` writes.

``.safetensors`` and ``.npz`` hold names; ``.npy`` and audio files hold one array, named after the
file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from harness.atomic import atomic_file
from harness.audio.files import read_audio
from harness.comparison import load_all, read_file
from harness.comparison.inputs import AUDIO_SUFFIXES
from harness.errors import ParityError


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read every array of a file; audio as the network takes it, [2, n] at 44.1 kHz.

    Raises:
        ParityError: the file is missing, of another kind, or broken.
    """
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return {path.stem: read_audio(path)}
    return load_all(read_file(path))


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to a ``.safetensors`` or ``.npz`` file, atomically."""
    if path.suffix.lower() not in (".safetensors", ".npz"):
        raise ParityError(f"{path} must end in .safetensors or .npz")
    with atomic_file(path) as temporary:
        if path.suffix.lower() == ".npz":
            np.savez(temporary, **dict(tensors))  # type: ignore[arg-type]
        else:
            dense = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
            save_file(dense, temporary)
