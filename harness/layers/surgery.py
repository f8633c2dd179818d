"""The layer ``surgery``: the network cut out of its STFT computes what the original computes.

The gate is narrower than the order of a sum, so both sides must be of one process. That the
original computes here what its golden holds is asked apart, under a gate that any machine meets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from harness.layers.tensors import Tensors, compared, tensor_label
from harness.verdicts import Check


def surgery_checks(
    original: Tensors,
    extracted: Tensors,
    taps: Sequence[str],
    labels: Mapping[str, str],
    *,
    outputs: Iterable[str],
) -> Iterator[Check]:
    """Compare the extracted network with the original, behind every block and at the end.

    Args:
        original: what the original made, observed while it ran in this process.
        extracted: what the extracted network made of the same inputs.
        taps: names of the inner values that both have.
        labels: of every check.
        outputs: names of what comes out at the end: the outputs, and stems where there are some.
    """
    for name in (*(f"tap.{tap}" for tap in taps), *outputs):
        where = {**labels, "tensor": tensor_label(name)}
        yield compared("surgery", "surgery", original[name], extracted[name], where)


def golden_checks(
    golden: Tensors, here: Mapping[str, npt.NDArray[Any]], labels: Mapping[str, str]
) -> Iterator[Check]:
    """Compare what the original makes in this process with its golden, tensor by tensor."""
    for name, actual in here.items():
        where = {**labels, "tensor": tensor_label(name)}
        yield compared("surgery", "golden_here", golden[name], actual, where)
