"""What a network is constructed with: from its checkpoint, from the subject's options, or assumed.

In: a checkpoint, the options behind the ``?`` of a subject's name, and the architecture that it is
named after. Out: an `Architecture` with all of HTDemucs' constructor arguments, and what has to be
said about them. In this order:

1. what the checkpoint says. An option may repeat it, and may shorten the segment; any other
   contradiction is refused;
2. of a checkpoint that says nothing, what the shapes of its tensors tell
   (`harness.subjects.shapes`) and then what the options say;
3. the architecture's own, for the published weights and for what a network rarely has of its own.
   What every network has of its own (`_UNSEEN`) is asked for, with the architecture's values as
   the options that would say them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from harness.audio.contract import Geometry
from harness.errors import CheckpointError, ParityError
from harness.subjects.checkpoints import Checkpoint
from harness.subjects.foreign import HTDEMUCS_CLASS, WAY_OUT, other_network
from harness.subjects.names import ARCHITECTURES, Architecture, SubjectName
from harness.subjects.shapes import SHAPED, arguments_from_shapes, stems_in_shapes
from harness.subjects.values import (
    DEFAULTS,
    NO_EFFECT,
    SIGNATURE,
    check_arguments,
    options_of,
    same_value,
    spelled,
)

_UNSEEN: Final = ("segment", "samplerate", "sources", "t_heads")
"""What no tensor shows and every network has its own of."""


@dataclass(frozen=True)
class Resolved:
    """A network's architecture, with all arguments, and what has to be said about them.

    Attributes:
        architecture: with the network's own sources and every other argument.
        warnings: what was assumed or not understood, one sentence each.
        notes: what was done, one sentence each.
    """

    architecture: Architecture
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def with_options(architecture: Architecture, name: SubjectName) -> Architecture:
    """Return ``architecture`` as the options of ``name`` change it: for weights that are seeded.

    Raises:
        UnknownNameError: there is no such option.
        ParityError: a value that can't be one.
    """
    options = options_of(name)
    arguments = complete_arguments(architecture) | options
    check_arguments(f"subject {name}", arguments)
    changed = with_arguments(architecture, arguments)
    count, published = len(changed.sources), len(architecture.sources)
    if count != published and len(architecture.members) > 1:
        raise ParityError(
            f"{architecture.name} is a bag whose weights are for {published} stems, not {count}"
        )
    return changed


def resolve(architecture: Architecture, checkpoint: Checkpoint, name: SubjectName) -> Resolved:
    """Return what the network of ``checkpoint`` is constructed with.

    Raises:
        UnknownNameError: an option that doesn't exist.
        CheckpointError: another network, arguments that can't be used, or a contradiction.
    """
    what = other_network(checkpoint.klass, checkpoint.state)
    if what is not None:
        raise CheckpointError(f"checkpoint {checkpoint.path} holds {what}: {WAY_OUT}")
    if checkpoint.klass not in (None, HTDEMUCS_CLASS):
        raise CheckpointError(
            f"checkpoint {checkpoint.path} holds a {checkpoint.klass}, expected {HTDEMUCS_CLASS}"
        )
    options = options_of(name)
    if checkpoint.klass is not None and checkpoint.kwargs is not None:
        return _stated(architecture, checkpoint, options)
    # The published name says what its own files don't.
    return _inferred(architecture, checkpoint, options, asking=name.path is not None)


def complete_arguments(architecture: Architecture) -> dict[str, Any]:
    """Return all arguments of HTDemucs by name, with ``sources``."""
    return {"sources": architecture.sources, **DEFAULTS, **architecture.arguments}


def with_arguments(architecture: Architecture, arguments: Mapping[str, Any]) -> Architecture:
    """Return ``architecture`` with all of these arguments."""
    sources = tuple(arguments["sources"])
    rest = {key: value for key, value in arguments.items() if key != "sources"}
    weights = architecture.bag_weights
    if len(sources) != len(architecture.sources):
        weights = ()
    return replace(architecture, sources=sources, arguments=rest, bag_weights=weights)


def geometry_of(architecture: Architecture) -> Geometry:
    """Return the sizes of a network's inputs.

    Raises:
        ParityError: an STFT that HTDemucs can't compute.
    """
    arguments = complete_arguments(architecture)
    n_fft = int(arguments["nfft"])
    if n_fft < 8 or n_fft % 8:
        raise ParityError(f"nfft={n_fft} is no multiple of 8, as HTDemucs' STFT needs it to be")
    rate = int(arguments["samplerate"])
    length = int(arguments["segment"] * arguments["samplerate"])
    return Geometry(rate, int(arguments["audio_channels"]), n_fft, length)


def same_network(left: Architecture, right: Architecture) -> str | None:
    """Return how two networks differ, ``KEY=VALUE, not KEY=VALUE``, or None."""
    expected = complete_arguments(right)
    for key, value in complete_arguments(left).items():
        if key not in NO_EFFECT and not same_value(value, expected[key]):
            return f"{key}={spelled(value)}, not {key}={spelled(expected[key])}"
    return None


def identity(architecture: Architecture) -> str:
    """Return what of a network neither its tensors' names nor their shapes show.

    "" for all that is as in the published models, so that their fingerprints are of weights alone.
    """
    published = complete_arguments(ARCHITECTURES["htdemucs"])
    known = {len(row.sources): row.sources for row in ARCHITECTURES.values()}
    published["sources"] = known.get(len(architecture.sources))
    different = {
        key: spelled(value)
        for key, value in sorted(complete_arguments(architecture).items())
        if key not in NO_EFFECT | SHAPED and not same_value(value, published[key])
    }
    return json.dumps(different, sort_keys=True) if different else ""


# --------------------------------------------------------------------------------------------------


def _stated(
    architecture: Architecture, checkpoint: Checkpoint, options: Mapping[str, Any]
) -> Resolved:
    """Take the arguments of a checkpoint that has them."""
    where = f"checkpoint {checkpoint.path}"
    kwargs = checkpoint.kwargs or {}
    unknown = sorted(str(key) for key in kwargs if key not in SIGNATURE.parameters)
    known = {key: value for key, value in kwargs.items() if key in SIGNATURE.parameters}
    try:
        bound = SIGNATURE.bind(*checkpoint.args, **known)
    except TypeError as error:
        raise CheckpointError(f"{where} has unusable constructor arguments: {error}") from error
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    check_arguments(where, arguments)
    notes = checkpoint.notes
    for key, value in options.items():
        own = arguments[key]
        if same_value(own, value):
            continue
        if key != "segment" or value > own:
            raise CheckpointError(
                f"{where} was made with {key}={spelled(own)}, but the subject's name says "
                f"{key}={spelled(value)}; leave that out"
            )
        notes = (
            *notes,
            f"segments of {spelled(value)} s instead of {spelled(own)} s, as asked for",
        )
        arguments[key] = value
    warnings = tuple(
        f"{where} has the argument {key[:40]!r}, which this Demucs doesn't know" for key in unknown
    )
    return Resolved(with_arguments(architecture, arguments), warnings, notes)


def _inferred(
    architecture: Architecture,
    checkpoint: Checkpoint,
    options: Mapping[str, Any],
    *,
    asking: bool,
) -> Resolved:
    """Take what shapes and options tell; if ``asking``, ask for what they leave open."""
    where = f"checkpoint {checkpoint.path}"
    hints = {
        key: value
        for key, value in (checkpoint.kwargs or {}).items()
        if key in SIGNATURE.parameters
    }
    said = {**hints, **options}
    base = complete_arguments(architecture) | said
    check_arguments(where, base)
    shaped = arguments_from_shapes(checkpoint.path, checkpoint.state, base)
    arguments = base | shaped | {k: v for k, v in options.items() if k not in SHAPED}
    for key in sorted(options.keys() & shaped.keys()):
        if not same_value(options[key], shaped[key]):
            raise CheckpointError(
                f"{where} has tensors of {key}={spelled(shaped[key])}, but the subject's name says "
                f"{key}={spelled(options[key])}; leave that out"
            )
    stems = stems_in_shapes(checkpoint.path, checkpoint.state, arguments)
    if len(arguments["sources"]) != stems:
        whose = "were named" if "sources" in said else f"are those of {architecture.name}"
        raise CheckpointError(
            f"{where} separates {stems} stems, and {len(arguments['sources'])} {whose}; name "
            f"them in their order: add sources={','.join('abcdefghijkl'[:stems])} to the options"
        )
    unsaid = [key for key in _UNSEEN if key not in said]
    if "nfft" not in shaped and "nfft" not in said:
        unsaid.append("nfft")
    if asking and unsaid:
        words = " ".join(f"--set {key}={spelled(arguments[key])}" for key in unsaid)
        raise CheckpointError(
            f"{where} doesn't say {', '.join(unsaid)}, and no tensor shows it; say it, with --set "
            f"or behind the '?' of the subject's name; {architecture.name} has {words}"
        )
    return Resolved(with_arguments(architecture, arguments), (), checkpoint.notes)
