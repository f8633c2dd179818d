"""Named arrays in files: what ``parity predict`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from harness.atomic import atomic_file
from harness.errors import ParityError


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
