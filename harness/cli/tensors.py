"""Named arrays in files: what ``parity predict`` writes, and says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from harness.atomic import atomic_file
from harness.cli.console import print_table
from harness.errors import ParityError


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write named arrays to a ``.safetensors`` or ``.npz`` file, atomically."""
    if path.suffix.lower() not in (".safetensors", ".npz"):
        raise ParityError(f"{path} must end in .safetensors or .npz")
    with atomic_file(path) as temporary:
        if path.suffix.lower() == ".npz":
            np.savez(temporary, **dict(tensors))  # type: ignore[arg-type]
        else:
            dense = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
            save_file(dense, temporary)


def facts_of(tensors: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return name, shape and type of each array, as a document lists them."""
    return [
        {"name": name, "shape": list(value.shape), "dtype": str(value.dtype)}
        for name, value in tensors.items()
    ]


def print_facts(target: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Print the same as a table of what was written to ``target``."""
    rows = [tuple(row.values()) for row in facts_of(tensors)]
    print_table(str(target), ("name", "shape", "dtype"), rows)
