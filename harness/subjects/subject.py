"""Subjects by their names, whatever network they are of, and networks of one's own.

`describe_subject` says what a subject is without making its weights; `load_subject` makes them. The
part of a name before ``@`` and ``?`` says which network it is of: one that `network` registered, or
else an HTDemucs.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from harness.errors import ParityError, UnknownNameError
from harness.plugins import load_plugins
from harness.subjects.loading import describe_htdemucs, load_htdemucs
from harness.subjects.names import ARCHITECTURES
from harness.subjects.protocol import Network, Subject
from harness.subjects.weights import fingerprint

_NETWORKS: dict[str, Network] = {}

NetworkClass = TypeVar("NetworkClass", bound=type[Network])


def network(cls: NetworkClass) -> NetworkClass:
    """Register a network of one's own, which says how its model is built, as the subject's name.

    Raises:
        ParityError: its name is taken.
    """
    made: Any = cls()
    if made.name in _NETWORKS or made.name in ARCHITECTURES:
        raise ParityError(f"network {made.name!r} is registered twice")
    _NETWORKS[made.name] = made
    return cls


def describe_subject(name: str) -> Network:
    """Return what the subject ``NAME[@WEIGHTS][?OPTIONS]`` is, without making its weights.

    A checkpoint is read once in a process, as long as its file stays as it is. Published weights
    are not looked for: they are known.

    Raises:
        UnknownNameError: NAME is no network, or there is no such option.
        ParityError: WEIGHTS or an option can't be understood.
        CheckpointError: ``@PATH`` weights that can't be used.
    """
    return own_network(name) or describe_htdemucs(name)


def load_subject(name: str) -> Subject:
    """Return the subject ``NAME[@WEIGHTS][?OPTIONS]``.

    Each of its warnings is also issued as an `UnusualWeightsWarning`.

    Raises:
        UnknownNameError, ParityError, CheckpointError: as `describe_subject`.
        WeightsUnavailableError: trained weights that are not here and can't be downloaded.
    """
    own = own_network(name)
    if own is None:
        return load_htdemucs(name)
    model = own.build().eval().requires_grad_(False)
    return Subject(name, own, (model,), fingerprint([model]))


def separate_segment(subject: Subject, audio: Tensor) -> Tensor:
    """Return the stems [S, C, n] of one segment ``audio`` [1, C, n], float32, n = segment length.

    Each model's own forward is called, and a bag is averaged as Demucs does.

    Raises:
        ParityError: ``audio`` is not exactly one segment.
    """
    expected = subject.network.signal_shape
    if tuple(audio.shape) != expected:
        raise ParityError(
            f"audio has shape {list(audio.shape)}, but {subject.name} separates {list(expected)}"
        )
    with torch.no_grad():
        return subject.network.separate(subject.models, audio)


def own_network(subject: str) -> Network | None:
    """Return the registered network that a subject is of; None for an HTDemucs.

    Raises:
        UnknownNameError: it is of neither, as far as a look at its name tells.
        ParityError: weights or options are given to a network that has its own.
    """
    load_plugins()
    name = subject.partition("@")[0].partition("?")[0]
    if name in _NETWORKS and name != subject:
        raise ParityError(
            f"subject {subject!r}: network {name!r} has weights of its own; ask for {name!r} alone"
        )
    if _NETWORKS and name not in _NETWORKS and name not in ARCHITECTURES:
        raise UnknownNameError("subject", name, [*ARCHITECTURES, *_NETWORKS])
    return _NETWORKS.get(name)
