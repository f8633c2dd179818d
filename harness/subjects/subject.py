"""Subjects by their names, whatever network they are of, and networks of one's own.

`describe_subject` says what a subject is without making its weights; `load_subject` makes them. The
part of a name before ``@`` and ``?`` says which network it is of: one that `network` registered or
a ``parity.toml`` declares, or else an HTDemucs.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from harness.errors import DeclarationError, ParityError, UnknownNameError
from harness.plugins import declaration_files, load_plugins
from harness.subjects.declared import DeclaredNetwork, read_declaration
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
    identity = own.identity if isinstance(own, DeclaredNetwork) else ""
    return Subject(name, own, (model,), fingerprint([model], identity))


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
    """Return the registered or declared network that a subject is of; None for an HTDemucs.

    Raises:
        UnknownNameError: it is of neither, as far as a look at its name tells.
        ParityError: weights or options are given to a network that has its own.
        DeclarationError: a ``parity.toml`` that can't be read.
    """
    known = own_networks()
    name = subject.partition("@")[0].partition("?")[0]
    if name in known and name != subject:
        raise ParityError(
            f"subject {subject!r}: network {name!r} has weights of its own; ask for {name!r} alone"
        )
    stray = name not in known and name not in ARCHITECTURES
    if known and stray and not os.path.isfile(name):  # noqa: PTH113 - the parser knows of files
        raise UnknownNameError("subject", name, [*ARCHITECTURES, *known])
    return known.get(name)


def own_networks() -> dict[str, Network]:
    """Return the networks of plugins, and of the declarations that there are now, by name.

    Raises:
        ParityError: a plugin that can't be imported, or a declaration that can't be read.
    """
    load_plugins()
    found = dict(_NETWORKS)
    for file in declaration_files():
        try:
            status = file.stat()
        except OSError as error:
            raise DeclarationError(f"{file} can't be read: {error.strerror}") from error
        made = _declared(file.resolve(), status.st_mtime_ns, status.st_size)
        if made.name in found or made.name in ARCHITECTURES:
            raise DeclarationError(
                f"{file} calls its network {made.name!r}, as another one is called already; give "
                "it a name of its own"
            )
        found[made.name] = made
    return found


@lru_cache(maxsize=32)
def _declared(file: Path, _changed_ns: int, _size: int) -> DeclaredNetwork:
    return DeclaredNetwork(read_declaration(file))
