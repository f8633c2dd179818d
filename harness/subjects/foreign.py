"""Networks that are not HTDemucs, known by their class or by the names of their tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

HTDEMUCS_CLASS: Final = "demucs.htdemucs.HTDemucs"
OTHER_CLASSES: Final = {
    "demucs.hdemucs.HDemucs": "Hybrid Demucs (v3, as mdx_extra and hdemucs_mmi)",
    "demucs.demucs.Demucs": "Demucs (v1 or v2, waveforms alone)",
    "demucs.model.Demucs": "Demucs (v1 or v2, waveforms alone)",
    "demucs.wdemucs.WDemucs": "Hybrid Demucs (v3, under an older name)",
    "demucs.tasnet.ConvTasNet": "Conv-TasNet",
    "demucs.tasnet_v2.ConvTasNet": "Conv-TasNet",
}
_BY_TENSORS: Final = (
    # The first whose beginnings all occur among the names.
    (
        ("tencoder.0.conv.", "encoder.0.conv."),
        "Hybrid Demucs (v3, as mdx_extra and hdemucs_mmi), or an HTDemucs without a transformer",
    ),
    (("encoder.0.0.", "decoder.0.0."), OTHER_CLASSES["demucs.demucs.Demucs"]),
    (("separator.network.", "encoder.conv1d_U."), OTHER_CLASSES["demucs.tasnet.ConvTasNet"]),
    (("band_split.", "mask_estimators."), "a band-split Roformer"),
    (("fc1.", "bn1.", "lstm."), "Open-Unmix"),
    (("first_conv.", "encoder_blocks."), "MDX23C (TFC-TDF)"),
)


def other_network(klass: str | None, names: Iterable[str]) -> str | None:
    """Return what a checkpoint holds in a few words, or None for all that may be an HTDemucs.

    Args:
        klass: dotted name of its class, if it says one.
        names: of its tensors.
    """
    if klass is not None:
        return OTHER_CLASSES.get(klass)
    known = tuple(names)
    if any(name.startswith("crosstransformer.") for name in known):
        return None
    for beginnings, what in _BY_TENSORS:
        if all(any(name.startswith(start) for name in known) for start in beginnings):
            return what
    return None


WAY_OUT: Final = (
    "only HTDemucs (htdemucs, htdemucs_ft, htdemucs_6s, or trained as one) is known by its "
    "checkpoint; name the function that builds this network in a parity.toml and evaluate it with "
    "'parity run'"
)
"""What somebody who has another network can do."""
