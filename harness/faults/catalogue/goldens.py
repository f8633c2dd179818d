"""Bugs of the expected tensors."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from demucs.htdemucs import HTDemucs

from harness.faults.judges.goldens import CASES, OTHER, Keep, Weights, build
from harness.faults.registry import CONVERSIONS, OWN, fault
from harness.golden import Case

_goldens = partial(fault, judge="goldens", caught_by="golden store")
_original = partial(fault, judge="original", caught_by="surgery")


@_goldens("goldens.bit-flipped", source=OWN, sample=True)
def _bit_flipped(keep: Keep) -> None:
    """One bit of the file is flipped."""
    content = bytearray(keep.tensors().read_bytes())
    content[-3] ^= 1
    keep.tensors().write_bytes(content)


@_goldens("goldens.truncated", source=OWN)
def _truncated(keep: Keep) -> None:
    """The file breaks off: a disk was full, or a download was cut."""
    content = keep.tensors().read_bytes()
    keep.tensors().write_bytes(content[: len(content) // 2])


_goldens("goldens.deleted", source=OWN)(
    lambda keep: keep.tensors().unlink(),
    "The file is gone, and would be made again by whatever is installed now.",
)


@_goldens("goldens.of-another-subject", source=OWN)
def _of_another_subject(keep: Keep) -> None:
    """The file is that of another subject, sound in itself."""
    shutil.copy(keep.tensors(subject=OTHER.name), keep.tensors())


@_goldens("goldens.of-another-case", source=OWN)
def _of_another_case(keep: Keep) -> None:
    """The file is that of another case, sound in itself."""
    shutil.copy(keep.tensors(CASES[1]), keep.tensors())


_goldens("goldens.stale-weights", source=CONVERSIONS, sample=True)(
    lambda keep: replace(keep, subject=Weights(keep.subject.name, "c" * 64)),
    "The weights changed since the golden was made.",
)


@_goldens("goldens.stale-recipe", source=OWN)
def _stale_recipe(keep: Keep) -> None:
    """The signal's recipe changed since the golden was made."""
    recipes = keep.store.layout.recipes
    text = recipes.read_text(encoding="utf-8")
    before, _, after = text.partition("[case.noise]")
    recipes.write_text(before + "[case.noise]" + after.replace("-20.0", "-21.0", 1), "utf-8")


_goldens("goldens.stale-versions", source=OWN)(
    lambda keep: replace(keep, versions={**keep.versions, "torch": "2.0"}),
    "Another PyTorch is installed than the one that made the golden.",
)


@_goldens("goldens.drifted", source=OWN)
def _drifted(keep: Keep) -> Keep:
    """The golden was made again by something that computes it 0.01 % off."""

    def off(subject: Weights, case: Case) -> dict[str, np.ndarray]:
        return {name: tensor * np.float32(1.0001) for name, tensor in build(subject, case).items()}

    drifting = replace(keep, builder=off)
    drifting.store.build(keep.subject, CASES[0], force=True)
    return drifting


@_goldens("goldens.not-finite", source=OWN)
def _not_finite(keep: Keep) -> Keep:
    """The subject itself gives NaN, and the golden would hold it."""

    def poisoned(subject: Weights, case: Case) -> dict[str, np.ndarray]:
        tensors = build(subject, case)
        tensors["stems"][0, 0] = np.nan
        return tensors

    keep.tensors().unlink()
    return replace(keep, builder=poisoned)


@_original("goldens.of-another-demucs", source=OWN, sample=True)
def _of_another_demucs(model: HTDemucs) -> None:
    """The Demucs that made the goldens had the exact GELU, the one installed here has tanh's."""
    for module in model.modules():
        if isinstance(module, torch.nn.GELU):
            module.approximate = "tanh"


@_original("goldens.of-other-weights", source=OWN)
def _of_other_weights(model: HTDemucs) -> None:
    """One weight here has another value than the one that made the goldens."""
    weight: Any = model.get_submodule("decoder.3.conv_tr").weight
    with torch.no_grad():
        weight.view(-1)[7] += 0.01
