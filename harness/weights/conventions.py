r"""Two conventions of names for the tensors of HTDemucs, and which of them a file has.

``demucs`` is that of the checkpoints. ``metal`` is that of the published port to Swift and Metal:

==============================================  ==================================================
demucs                                          metal
==============================================  ==================================================
``encoder.I.``, ``decoder.I.``                  ``freq_encoder.I.``, ``freq_decoder.I.``
``tencoder.I.``, ``tdecoder.I.``                ``time_encoder.I.``, ``time_decoder.I.``
``.conv_tr.`` in a decoder                      ``.conv_transpose.``
``.norm1.`` in an encoder                       ``.norm.``
``.norm2.`` in a decoder                        ``.norm.``
``channel_upsampler.``, ``_downsampler.``       ``freq_to_transformer.``, ``transformer_to_freq.``
``channel_upsampler_t.``, ``_downsampler_t.``   ``time_to_transformer.``, ``transformer_to_time.``
``crosstransformer.``                           ``cross_transformer.``
``layers.I.self_attn.``, ``layers_t.I.``        ``layers.I.self_attn_freq.``, ``_time.``; so are
                                                ``cross_attn``, ``norm1``, ``norm2`` and ``norm3``
``layers.I.linear1.``                           ``layers.I.ffn_freq.linear1.``; so is ``linear2``
anything else of a layer: ``gamma_1.scale``     the branch at the end: ``gamma_1.scale_freq``
==============================================  ==================================================

The port maps names one way; its own way back leaves the layers of the transformer as they are. Here
each rule has its inverse, so that a state dict comes back name by name. What no rule fits
(``freq_emb.embedding.weight``) has one name in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final, Literal, TypeAlias, get_args

Convention: TypeAlias = Literal["demucs", "metal"]
CONVENTIONS: Final[tuple[Convention, ...]] = get_args(Convention)

_BLOCKS: Final = {
    "encoder": "freq_encoder",
    "decoder": "freq_decoder",
    "tencoder": "time_encoder",
    "tdecoder": "time_decoder",
    "channel_upsampler": "freq_to_transformer",
    "channel_downsampler": "transformer_to_freq",
    "channel_upsampler_t": "time_to_transformer",
    "channel_downsampler_t": "transformer_to_time",
    "crosstransformer": "cross_transformer",
}
"""The first part of a name."""
_PARTS: Final = {
    "encoder": {"norm1": "norm"},
    "decoder": {"norm2": "norm", "conv_tr": "conv_transpose"},
}
"""The part behind the number of a level, by the end of its block's name."""
_BRANCHES: Final = {"layers": "freq", "layers_t": "time"}
_SUFFIXED: Final = ("self_attn", "cross_attn", "norm1", "norm2", "norm3")
_FEED_FORWARD: Final = ("linear1", "linear2")
_TELLING: Final = {
    # "encoder" and "decoder" are common words: other networks have them.
    "demucs": re.compile(r"^(t(en|de)coder\.\d|crosstransformer\.|channel_(up|down)sampler)"),
    "metal": re.compile(
        r"^((time|freq)_(en|de)coder\.\d|cross_transformer\.|\w+_to_transformer\.)"
    ),
}


def convention_of(names: Iterable[str]) -> Convention | None:
    """Return the convention of a file's names; None where none of them tells, or both are there."""
    known = list(names)
    found = [
        convention
        for convention in CONVENTIONS
        if any(_TELLING[convention].match(name) for name in known)
    ]
    return found[0] if len(found) == 1 else None


def renamed(name: str, to: Convention) -> str:
    """Return what a name of the other convention is in ``to``.

    A name that is known in neither is returned as it is.
    """
    for demucs, metal in _RULES:
        form, other = (demucs, metal) if to == "demucs" else (metal, demucs)
        found = _expression(other).fullmatch(name)
        if found:
            return form.format(**found.groupdict())
    return name


def _rules() -> Iterator[tuple[str, str]]:
    """Yield a name in both conventions, in braces what they share; the first that fits counts."""
    for stack, branch in _BRANCHES.items():
        ours, theirs = f"crosstransformer.{stack}.{{i}}.", "cross_transformer.layers.{i}."
        for part in _SUFFIXED:
            yield f"{ours}{part}.{{rest}}", f"{theirs}{part}_{branch}.{{rest}}"
        for part in _FEED_FORWARD:
            yield f"{ours}{part}.{{rest}}", f"{theirs}ffn_{branch}.{part}.{{rest}}"
        yield f"{ours}{{rest}}", f"{theirs}{{rest}}_{branch}"
    for ours, theirs in _BLOCKS.items():
        for part, other in _PARTS.get(ours.removeprefix("t"), {}).items():
            yield f"{ours}.{{i}}.{part}.{{rest}}", f"{theirs}.{{i}}.{other}.{{rest}}"
        yield f"{ours}.{{rest}}", f"{theirs}.{{rest}}"


_RULES: Final = tuple(_rules())


@cache
def _expression(form: str) -> re.Pattern[str]:
    """Return what fits a rule's name: ``{i}`` is one part, ``{rest}`` whatever comes there."""
    escaped = re.escape(form).replace(r"\{i\}", r"(?P<i>[^.]+)")
    return re.compile(escaped.replace(r"\{rest\}", "(?P<rest>.+)"))
