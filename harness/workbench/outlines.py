"""How HTDemucs is built, in the words of figures: its sources, branches and stages."""

from __future__ import annotations

from typing import Final

from harness.layers import BRANCHES
from harness.subjects import describe_subject
from harness.verdicts.rows.packages import NetworkOutline, Stage

_STAGES: Final = (
    Stage("norm.freq", "norm", "freq"),
    Stage("norm.time", "norm", "time"),
    Stage("encoder", "encoder", "freq"),
    Stage("freq_emb", "encoder", "freq"),
    Stage("tencoder", "encoder", "time"),
    Stage("channel_upsampler", "transformer", "freq"),
    Stage("channel_upsampler_t", "transformer", "time"),
    Stage("crosstransformer", "transformer", "freq"),
    Stage("crosstransformer.norm_in_t", "transformer", "time"),
    Stage("crosstransformer.layers_t", "transformer", "time"),
    Stage("channel_downsampler", "transformer", "freq"),
    Stage("channel_downsampler_t", "transformer", "time"),
    Stage("decoder", "decoder", "freq"),
    Stage("tdecoder", "decoder", "time"),
)


def outline_of(subject: str) -> NetworkOutline:
    """Return what figures name of a subject."""
    return NetworkOutline(subject, describe_subject(subject).sources, BRANCHES, _STAGES)
