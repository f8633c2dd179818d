"""Audio to stems through one or more sessions, as an app would do it.

There are two ways through a file that is longer than a segment. Ours (`harness.audio.segments`)
takes any length in little memory. That of Demucs' own command normalises the whole file, overlaps
by a quarter, and pads with zeros (`harness.subjects.htdemucs.demucs_command`): whoever ports that
command is judged by it. Both are right, and they differ by far more than any conversion does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from harness.adapters import AdaptedModel, AdaptedSession, Sizes, adapter_beside
from harness.audio.files import AudioReader
from harness.audio.segments import plan_segments, separate_stream
from harness.conversion import check_contract
from harness.engines import Session, open_engine
from harness.errors import ParityError, UnknownNameError
from harness.golden.builder import network_inputs
from harness.mil import load
from harness.profiles import PACKAGE_ENGINE, SUBJECT_ENGINE
from harness.subjects import Network, describe_subject, load_subject
from harness.subjects.htdemucs import HTDemucsNetwork, demucs_command
from harness.subjects.protocol import sound_of

DEMUCS: Final = "demucs"
LIKE: Final = (DEMUCS,)
"""Whose way through a file can be gone instead of ours."""
Advance = Callable[[int, int], None]


class Separator:
    """A signal to stems: inputs, network, stems of its outputs, mean over the models of a bag.

    Args:
        sessions: one for each model of the subject; more than one for a bag.
        network: of the subject.

    Raises:
        ParityError: the network's outputs are no audio.
    """

    def __init__(self, sessions: Sequence[Session], network: Network) -> None:
        self.geometry, self.sources = sound_of(network), network.sources
        self._sessions, self._network = sessions, network
        table = np.asarray(network.bag_weights, np.float32)
        self._shares = (table / table.sum(axis=0))[:, :, np.newaxis, np.newaxis]

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Return the stems [S, C, n] of ``audio`` [1, C, n], one segment, both float32."""
        inputs = network_inputs(self._network, audio)
        stems = stems_from(self._network, self._sessions[0].predict(inputs))
        if len(self._sessions) > 1:
            stems *= self._shares[0]
            for session, share in zip(self._sessions[1:], self._shares[1:], strict=True):
                stems += share * stems_from(self._network, session.predict(inputs))
        return stems

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Separate a signal that arrives in blocks [C, n]; yield its stems in blocks [S, C, m]."""
        return separate_stream(blocks, self, **self.geometry.cuts)


def stems_from(network: Network, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the stems [S, C, n] that outputs are, or stand for.

    Raises:
        ParityError: they are a part of the network's outputs, as of a package of one branch.
    """
    if "stems" in outputs:
        return outputs["stems"].copy()
    lacking = [name for name in network.interface.outputs if name not in outputs]
    if lacking:
        raise ParityError(
            f"the package shows {', '.join(outputs)} and no {lacking[0]}, so it gives no stems"
        )
    return network.stems_of(outputs)


def open_separator(
    subject: str,
    *,
    packages: Sequence[Path] = (),
    engine: str = PACKAGE_ENGINE,
    numerics: str = "storage",
) -> Separator:
    """Return what separates audio as ``subject`` does: PyTorch, or packages in an ``engine``.

    Raises:
        ParityError: not one package for each model of the subject.
        ContractError: a package with other inputs or outputs than the subject's.
    """
    if not packages:
        loaded = load_subject(subject)
        return Separator([open_engine(SUBJECT_ENGINE, m) for m in loaded.members], loaded.network)
    network = describe_subject(subject)
    models = len(network.bag_weights)
    if len(packages) != models:
        raise ParityError(
            f"{subject} has {models} model(s) and {len(packages)} package(s) were given: give one "
            "for each, in order"
        )
    return Separator([_opened(p, network, engine, numerics) for p in packages], network)


def _opened(package: Path, network: Network, engine: str, numerics: str) -> Session:
    """Return a session of a package, in its adapter if it has one."""
    adapter = adapter_beside(package)
    if adapter is None:
        check_contract(package, network.interface)
        return open_engine(engine, package, numerics=numerics)
    view = AdaptedModel(load(package), adapter, Sizes.of(network))
    return AdaptedSession(open_engine(engine, package, numerics=numerics), view)


def check_way(like: str | None, network: Network) -> None:
    """Refuse a way through a file that isn't known, or that isn't the network's.

    Raises:
        UnknownNameError: there is no such way.
        ParityError: it is that of another kind of network.
    """
    if like is not None and like not in LIKE:
        raise UnknownNameError("way through a file", like, LIKE)
    if like == DEMUCS and not isinstance(network, HTDemucsNetwork):
        raise ParityError(f"{network.name} is no network of Demucs: leave --like demucs out")


def separate_file(audio: Path, separator: Separator, like: str | None = None) -> np.ndarray:
    """Separate a whole file into memory; stems [S, C, n] float32.

    Args:
        audio: the file.
        separator: of its segments.
        like: whose way to go, of `LIKE`; ours by default.
    """
    with AudioReader(audio, separator.geometry) as reader:
        return np.concatenate(list(stems_of_file(reader, separator, like)), axis=-1)


def stems_of_file(
    reader: AudioReader,
    separator: Separator,
    like: str | None = None,
    advance: Advance = lambda done, total: None,
) -> Iterator[np.ndarray]:
    """Yield the stems [S, C, m] of an opened file in order: in blocks, or whole where it has to be.

    Args:
        reader: of the file.
        separator: of its segments.
        like: whose way to go, of `LIKE`; ours by default.
        advance: called as ``advance(done, total)`` with numbers of segments.
    """
    geometry = separator.geometry
    if like == DEMUCS:
        mixture = torch.from_numpy(np.concatenate(list(reader.blocks()), axis=-1))
        model = _AsDemucs(separator, mixture.shape[-1], advance)
        yield demucs_command(model, mixture).numpy()
        return
    plan = plan_segments(
        reader.frames, segment_length=geometry.segment_length, overlap=geometry.overlap
    )
    total = len(plan.segments)
    advance(0, total)
    for done, stems in enumerate(separator.stream(reader.blocks()), start=1):
        yield stems
        advance(min(done, total), total)


class _AsDemucs(nn.Module):
    """A separator with what ``demucs.apply_model`` reads of a network."""

    def __init__(self, separator: Separator, samples: int, advance: Advance) -> None:
        super().__init__()
        geometry = separator.geometry
        self.sources, self.samplerate = separator.sources, geometry.sample_rate
        self._length = geometry.segment_length
        self.segment = Fraction(self._length, geometry.sample_rate)
        self._separator, self._advance, self._done = separator, advance, 0
        self._total = -(-samples // (3 * self._length // 4))

    def valid_length(self, length: int) -> int:
        """Return what an input is padded to: a segment, as HTDemucs does."""
        return self._length

    def forward(self, mixture: Tensor) -> Tensor:
        """Return the stems [1, S, C, n] of a segment [1, C, n]."""
        self._advance(self._done, self._total)
        made = torch.from_numpy(self._separator(np.ascontiguousarray(mixture.numpy())))
        self._done += 1
        self._advance(self._done, self._total)
        return made[None]
