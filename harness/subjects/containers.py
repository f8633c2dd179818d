"""How trainers pack a state dict: what is inside, what it says of the network, what to leave out.

========================  ===========================================  ============================
made by                   state dict                                   constructor arguments
========================  ===========================================  ============================
Demucs' export            ``state``                                    ``klass, args, kwargs``
Demucs' solver            ``best_state``, or ``state`` without one     ``args``, ``training_args``
Lightning                 ``state_dict``, names under a prefix         ``hyper_parameters``
other trainers            ``state_dict``, ``model_state_dict``, ...    ``config``, or none
``torch.save`` of a dict  the whole                                    none
========================  ===========================================  ============================

Everything here is plain data by the time it arrives. Wrappers put a prefix before every name
(``module.``, ``model.``, ``_orig_mod.``): whatever stands before ``encoder.0.conv.weight`` goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import CheckpointError
from harness.subjects.foreign import HTDEMUCS_CLASS
from harness.subjects.placeholders import ConfigNode, ModelClass

_STATES: Final = (
    "best_state", "state", "state_dict", "model_state_dict", "model_state", "model",
)  # fmt: skip
_ARGUMENTS: Final = ("training_args", "args", "hyper_parameters", "config")
_CLASSES: Final = {
    "htdemucs": HTDEMUCS_CLASS,
    "hdemucs": "demucs.hdemucs.HDemucs",
    "demucs": "demucs.demucs.Demucs",
}
"""What Demucs' training calls its models."""
_FIRST: Final = ("encoder.0.conv.weight", "encoder.0.layers.0.conv.weight")
"""A tensor that every HTDemucs has; the second where the bands are split."""
_ROOTS: Final = ("encoder", "decoder", "tencoder", "tdecoder", "crosstransformer")
_DEEPEST: Final = 32


@dataclass(frozen=True)
class Contents:
    """What is inside a container.

    Attributes:
        state: what stands in the place of the state dict, not checked yet.
        klass: dotted name of the model class, or None if nothing names it.
        args, kwargs: what the file says of its constructor's arguments; ``kwargs`` is None if it
            says nothing, and may be a part of them where ``klass`` is None.
        notes: what was chosen among several things, one sentence each.
    """

    state: Any
    klass: str | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()


def opened(path: Path, content: Mapping[str, Any]) -> Contents:
    """Return what is inside ``content``, a whole file as its unpickler returned it.

    Raises:
        CheckpointError: a Demucs package without readable constructor arguments.
    """
    if "klass" in content and "state" in content:
        return _exported(path, content)
    holding = [key for key in _STATES if isinstance(content.get(key), Mapping) and content[key]]
    if not holding:
        # A state that is no dict is a damaged container, and all else is a state dict itself.
        return Contents(content.get("state", content))
    notes: tuple[str, ...] = ()
    if "best_state" in holding and "state" in holding:
        notes = ("the best state of the training was taken, not the last one",)
    klass, kwargs = _stated(content)
    return Contents(content[holding[0]], klass, (), kwargs, notes)


def without_prefix(path: Path, state: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the tensors of the network by its own names, and notes on what that took.

    Raises:
        CheckpointError: two networks are in the file, and nothing says which is meant.
    """
    prefixes = sorted(
        {
            name.removesuffix(first)
            for name in state
            for first in _FIRST
            if isinstance(name, str) and name.endswith(first)
        }
    )
    prefixes = [prefix for prefix in prefixes if prefix == "" or prefix.endswith(".")]
    if not prefixes or "" in prefixes:
        return dict(state), ()
    if len(prefixes) > 1:
        raise CheckpointError(
            f"checkpoint {path} holds {len(prefixes)} networks, under {', '.join(prefixes)}; "
            "save the state dict of the one that is meant as .safetensors"
        )
    (prefix,) = prefixes
    like = [name for name in state if any(f".{root}." in f".{name}" for root in _ROOTS)]
    if 2 * sum(name.startswith(prefix) for name in like) < len(like):
        return dict(state), ()  # one odd name among others
    own = {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }
    notes = [f"the prefix {prefix!r} was taken off the names"]
    if len(own) < len(state):
        notes.append(f"{len(state) - len(own)} tensors outside of {prefix!r} were left out")
    return own, tuple(notes)


def _exported(path: Path, content: Mapping[str, Any]) -> Contents:
    klass: Any = content.get("klass")
    args, kwargs = content.get("args"), content.get("kwargs")
    if not isinstance(args, tuple | list) or not isinstance(kwargs, dict):
        raise CheckpointError(f"checkpoint {path} has no readable constructor arguments")
    named = isinstance(klass, type) and issubclass(klass, ModelClass)
    dotted = klass.dotted if named else str(klass)
    return Contents(content["state"], dotted, tuple(args), dict(kwargs))


def _stated(content: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any] | None]:
    """Return the class and the constructor's arguments that a training's options tell."""
    for key in _ARGUMENTS:
        options = _plain(content.get(key))
        if not isinstance(options, dict):
            continue
        model, dataset = options.get("model"), options.get("dset")
        if isinstance(model, str) and isinstance(dataset, dict):
            return _CLASSES.get(model, model), _of_demucs(options, model, dataset)
        nested = [options[name] for name in ("model", "htdemucs", "kwargs") if name in options]
        merged = dict(options)
        for inner in nested:
            if isinstance(inner, dict):
                merged |= inner
        return None, merged
    return None, None


def _of_demucs(
    options: Mapping[str, Any], model: str, dataset: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what ``demucs.train.get_model`` makes of the options of a training."""
    segment = dataset.get("segment")
    four_times = 4 * segment if isinstance(segment, int | float) else None
    known = {
        "sources": dataset.get("sources"),
        "audio_channels": dataset.get("channels"),
        "samplerate": dataset.get("samplerate"),
        "segment": options.get("model_segment") or four_times,
    }
    own = options.get(model)
    stated = {key: value for key, value in known.items() if value is not None}
    return {**stated, **(own if isinstance(own, dict) else {})}


def _plain(value: Any, depth: int = 0) -> Any:
    """Return dicts, lists and scalars in the place of OmegaConf's nodes and of namespaces."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, ConfigNode):
        return _plain(value.content, depth + 1)
    if isinstance(value, Mapping):
        return {key: _plain(item, depth + 1) for key, item in value.items() if isinstance(key, str)}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    return value
