"""What an honest implementation makes of a pack: PyTorch in float32, forward and backward."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from harness.packs import BOOKS
from harness.packs.evaluation import answers
from harness.packs.problems import seed_of


@lru_cache
def in_float32(name: str) -> dict[str, np.ndarray]:
    made = {}
    for operation in BOOKS[name].operations.values():
        for problem, _ in operation.cases():
            case = f"{operation.name}.{problem.name}"
            _, found = answers(
                problem,
                seed_of(f"{name}/{case}"),
                differentiable=BOOKS[name].differentiable,
                dtype=torch.float32,
            )
            made |= {f"{case}/{tensor}": array for tensor, array in found.items()}
    return made
