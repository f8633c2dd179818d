"""Orthonormal directions in which errors lie, and what random fields have to do with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

Tensor: TypeAlias = torch.Tensor
Array: TypeAlias = npt.NDArray[np.float64]

_RESOLUTION = 1e-4
"""Of superposed errors by their norm: what is smaller is float32's rounding."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions in which errors lie, and how random fields led to them.

    Attributes:
        basis: orthonormal fields.
        seen: [basis, random fields]: coordinates of each random field.
        left_out: [basis, random fields]: coordinates of the direction, orthogonal to those that
            the other random fields led to, that each alone has added.
    """

    basis: Sequence[Tensor]
    seen: Array
    left_out: Array

    @classmethod
    def of(cls, found: Sequence[Tensor], seen: Sequence[Tensor]) -> Directions:
        """Return the directions that ``found`` spans, one field for each random one of ``seen``."""
        columns = torch.stack([field.flatten() for field in found], dim=1)
        columns = columns / torch.linalg.vector_norm(columns, dim=0)
        if not columns.isfinite().all():
            none = np.zeros((0, len(seen)))
            return cls((), none, none)
        wide, mixed = torch.linalg.qr(columns)
        # Errors may lie in fewer directions than there are random fields.
        turned, sizes, _ = np.linalg.svd(mixed.cpu().numpy())
        turned = turned[:, sizes > _RESOLUTION * sizes[0]]
        basis = wide @ torch.from_numpy(turned).to(wide)
        common = basis.T @ torch.stack([field.flatten() for field in seen], dim=1)
        return cls(
            [direction.reshape(found[0].shape) for direction in basis.T],
            common.cpu().numpy(),
            _apart(turned.T @ mixed.cpu().numpy()),
        )

    def extended(self, fields: Sequence[Tensor]) -> list[Tensor]:
        """Return the basis, and what ``fields`` have beside it."""
        rest = list(fields)
        for direction in self.basis:
            rest = [field - (direction * field).sum() * direction for field in rest]
        return [*self.basis, *rest]


def _apart(columns: Array) -> Array:
    """Return the direction in which each column lies beside the others; zeros if in none."""
    found = np.zeros_like(columns)
    for number, column in enumerate(columns.T):
        others = np.delete(columns, number, axis=1)
        beside = column - others @ np.linalg.lstsq(others, column, rcond=_RESOLUTION)[0]
        size = np.linalg.norm(beside)
        if size > _RESOLUTION:
            found[:, number] = beside / size
    return found
