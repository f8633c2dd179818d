"""Packages as users of coremltools have them: no papers of ours, and names that FP16 changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness._coremltools import import_coremltools
from suites.selftest.mil.converting import converted


class Images(nn.Module):
    """A classifier of small images with two outputs: convolutions, a norm, GELU, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.second, self.last = nn.Conv2d(8, 4, 3), nn.Linear(4 * 6 * 6, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = nn.functional.gelu(self.norm(self.first(x)))
        mask = torch.sigmoid(self.second(hidden))
        return self.last(mask.flatten(1)).softmax(-1), mask


class Words(nn.Module):
    """A table of words with two inputs, of which one is integers, and an output of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(16, 8), nn.Linear(8, 6)

    def forward(self, words: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.last(self.table(words) + x))
        return hidden, hidden.argmax(-1).int()


@dataclass(frozen=True)
class Stranger:
    """A network that converts to packages on demand.

    Attributes:
        folder: where they go.
        network: with seeded weights.
        example: of its inputs.
        names: of inputs and outputs.
        inputs: the file with an array for each input.
    """

    folder: Path
    network: nn.Module
    example: tuple[Tensor, ...]
    names: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def inputs(self) -> Path:
        file = self.folder / "in.npz"
        if not file.exists():
            arrays = dict(zip(self.names[0], (t.numpy() for t in self.example), strict=True))
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return file

    def package(
        self,
        precision: str | Callable[[Any], bool] = "FLOAT32",
        border: type = np.float32,
        name: str = "",
    ) -> Path:
        """Return the package in a precision, or by an ``op_selector``, made once.

        Args:
            precision: ``FLOAT32``, ``FLOAT16``, or the selector.
            border: type of floating-point inputs and outputs.
            name: of the file, for a selector.
        """
        ct = import_coremltools()
        out = self.folder / f"{name or precision}-{border.__name__}.mlpackage"
        if out.exists():
            return out
        if callable(precision):
            compute = ct.transform.FP16ComputePrecision(op_selector=precision)
        else:
            compute = ct.precision[precision]
        takes = [
            ct.TensorType(n, t.shape, border if t.is_floating_point() else np.int32)
            for n, t in zip(self.names[0], self.example, strict=True)
        ]
        made = self.network.eval()(*self.example)
        gives = [
            ct.TensorType(n, dtype=border if t.is_floating_point() else np.int32)
            for n, t in zip(self.names[1], made, strict=True)
        ]
        return converted(
            out,
            self.network,
            takes,
            *self.example,
            outputs=gives,
            compute_precision=compute,
            minimum_deployment_target=ct.target.iOS17,
        )


def images(folder: Path) -> Stranger:
    """Return the image classifier."""
    torch.manual_seed(0)
    example = (torch.randn(1, 3, 8, 8),)
    return Stranger(folder, Images(), example, (("x",), ("p", "mask")))


def words(folder: Path) -> Stranger:
    """Return the table of words."""
    torch.manual_seed(0)
    example = (torch.tensor([[5, 0, 15]], dtype=torch.int32), torch.randn(1, 3, 8))
    return Stranger(folder, Words(), example, (("words", "x"), ("hidden", "best")))
