"""Audio to stems through one or more sessions, as an app would do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from harness.audio import AudioReader, separate_stream, spectrogram_from_waveform
from harness.audio import waveform_from_spectrogram as waveform
from harness.conversion import check_contract
from harness.engines import Candidate, Session, open_engine
from harness.engines.torch_engine import TorchSession
from harness.errors import ParityError
from harness.subjects import extract_inner_model, load_subject
from harness.subjects.names import ARCHITECTURES, parse_subject_name


class Separator:
    """STFT, network, inverse STFT, sum of the branches.

    Args:
        sessions: one for each model of the subject; more than one for a bag.
        weights: for each of them, the weight of each stem in the weighted mean.
    """

    def __init__(self, sessions: Sequence[Session], weights: Sequence[Sequence[float]]) -> None:
        self._sessions = sessions
        table = np.asarray(weights, np.float32)
        self._shares = (table / table.sum(axis=0))[:, :, np.newaxis, np.newaxis]

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Return the stems [S, 2, n] of ``audio`` [1, 2, n], one segment, both float32."""
        spectrogram = spectrogram_from_waveform(torch.from_numpy(audio)).numpy()
        inputs = {"spectrogram": spectrogram, "audio": audio}
        stems = stems_of(self._sessions[0].predict(inputs))
        if len(self._sessions) > 1:
            stems *= self._shares[0]
            for session, share in zip(self._sessions[1:], self._shares[1:], strict=True):
                stems += share * stems_of(session.predict(inputs))
        return stems


def stems_of(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the stems [S, 2, n] of ``freq`` [1, S, 4, bins, frames] and ``time`` [1, S, 2, n]."""
    time = torch.from_numpy(outputs["time"])
    stems = waveform(torch.from_numpy(outputs["freq"]), time.shape[-1]).add_(time)
    result: np.ndarray = stems[0].numpy()
    return result


def subject_sources(subject: str) -> tuple[str, ...]:
    """Return the names of a subject's stems, in order, without loading it."""
    return ARCHITECTURES[parse_subject_name(subject).architecture].sources


def open_separator(
    subject: str, *, packages: Sequence[Path] = (), numerics: str = "storage"
) -> Separator:
    """Return what separates audio as ``subject`` does: PyTorch, or packages in its place.

    Raises:
        ParityError: not one package for each model of the subject.
        ContractError: a package with other inputs or outputs than the subject's.
    """
    architecture = ARCHITECTURES[parse_subject_name(subject).architecture]
    if not packages:
        loaded = load_subject(subject)
        sessions = [TorchSession(extract_inner_model(model)) for model in loaded.models]
        return Separator(sessions, loaded.bag_weights)
    if len(packages) != len(architecture.members):
        raise ParityError(
            f"{subject} has {len(architecture.members)} model(s) and {len(packages)} package(s) "
            "were given: give one for each, in order"
        )
    opened = []
    for package in packages:
        check_contract(package, len(architecture.sources))
        opened.append(open_engine("mil", Candidate(package=package), numerics=numerics))
    return Separator(opened, architecture.bag_weights)


def separate_file(audio: Path, separator: Separator) -> np.ndarray:
    """Separate a whole file into memory; stems [S, 2, n] float32."""
    with AudioReader(audio) as reader:
        return np.concatenate(list(separate_stream(reader.blocks(), separator)), axis=-1)
