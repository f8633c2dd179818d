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
from collections.abc import Callable, Iterable
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
    return _RENAME[to](name)


def _to_metal(name: str) -> str:
    block, _, rest = name.partition(".")
    if block not in _BLOCKS:
        return name
    if block == "crosstransformer":
        rest = _layer_to_metal(rest)
    else:
        rest = _part(rest, _PARTS.get(block.removeprefix("t"), {}))
    return f"{_BLOCKS[block]}.{rest}"


def _to_demucs(name: str) -> str:
    block, _, rest = name.partition(".")
    original = _inverse(_BLOCKS).get(block)
    if original is None:
        return name
    if original == "crosstransformer":
        rest = _layer_to_demucs(rest)
    else:
        rest = _part(rest, _inverse(_PARTS.get(original.removeprefix("t"), {})))
    return f"{original}.{rest}"


def _part(rest: str, parts: dict[str, str]) -> str:
    level, *inner = rest.split(".")
    if inner:
        inner[0] = parts.get(inner[0], inner[0])
    return ".".join([level, *inner])


def _layer_to_metal(rest: str) -> str:
    stack, *inner = rest.split(".")
    branch = _BRANCHES.get(stack)
    if branch is None or len(inner) < 2:
        return rest
    index, part, *last = inner
    if part in _SUFFIXED:
        part = f"{part}_{branch}"
    elif part in _FEED_FORWARD:
        part = f"ffn_{branch}.{part}"
    elif last:
        last[-1] += f"_{branch}"
    else:
        part += f"_{branch}"
    return ".".join(["layers", index, part, *last])


def _layer_to_demucs(rest: str) -> str:
    stack, *inner = rest.split(".")
    if stack != "layers" or len(inner) < 2:
        return rest
    index, *parts = inner
    for own, branch in _BRANCHES.items():
        if parts[0] == f"ffn_{branch}":
            return ".".join([own, index, *parts[1:]])
        for place in (0, -1):
            part = parts[place].removesuffix(f"_{branch}")
            if part != parts[place] and (place == -1 or part in _SUFFIXED):
                parts[place] = part
                return ".".join([own, index, *parts])
    return rest


def _inverse(names: dict[str, str]) -> dict[str, str]:
    return {value: key for key, value in names.items()}


_RENAME: Final[dict[Convention, Callable[[str], str]]] = {
    "demucs": _to_demucs,
    "metal": _to_metal,
}
