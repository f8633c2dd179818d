"""Audio to stems through one or more sessions, as an app would do it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from harness.audio.files import AudioReader
from harness.audio.segments import separate_stream
from harness.conversion import check_contract
from harness.engines import Session, open_engine
from harness.errors import ParityError
from harness.golden.builder import network_inputs
from harness.profiles import PACKAGE_ENGINE, SUBJECT_ENGINE
from harness.subjects import Network, describe_subject, load_subject
from harness.subjects.protocol import sound_of


class Separator:
    """A signal to stems: inputs, network, stems of its outputs, mean over the models of a bag.

    Args:
        sessions: one for each model of the subject; more than one for a bag.
        network: of the subject.

    Raises:
        ParityError: the network's outputs are no audio.
    """

    def __init__(self, sessions: Sequence[Session], network: Network) -> None:
        self.geometry = sound_of(network)
        self._sessions, self._network = sessions, network
        table = np.asarray(network.bag_weights, np.float32)
        self._shares = (table / table.sum(axis=0))[:, :, np.newaxis, np.newaxis]

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Return the stems [S, C, n] of ``audio`` [1, C, n], one segment, both float32."""
        inputs = network_inputs(self._network, audio)
        stems = self._network.stems_of(self._sessions[0].predict(inputs))
        if len(self._sessions) > 1:
            stems *= self._shares[0]
            for session, share in zip(self._sessions[1:], self._shares[1:], strict=True):
                stems += share * self._network.stems_of(session.predict(inputs))
        return stems

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Separate a signal that arrives in blocks [C, n]; yield its stems in blocks [S, C, m]."""
        return separate_stream(
            blocks,
            self,
            segment_length=self.geometry.segment_length,
            overlap=self.geometry.overlap,
            channels=self.geometry.channels,
        )


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
    opened = []
    for package in packages:
        check_contract(package, network.interface)
        opened.append(open_engine(engine, package, numerics=numerics))
    return Separator(opened, network)


def separate_file(audio: Path, separator: Separator) -> np.ndarray:
    """Separate a whole file into memory; stems [S, C, n] float32."""
    with AudioReader(audio, separator.geometry) as reader:
        return np.concatenate(list(separator.stream(reader.blocks())), axis=-1)
