"""Audio to stems through one or more sessions, as an app would do it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from harness.audio import PUBLISHED, Geometry
from harness.audio.files import AudioReader
from harness.audio.segments import separate_stream
from harness.audio.stft import spectrogram_from_waveform
from harness.audio.stft import waveform_from_spectrogram as waveform
from harness.conversion import check_contract
from harness.engines import Candidate, Session, open_engine
from harness.engines.torch_engine import TorchSession
from harness.errors import ParityError
from harness.subjects import describe_subject, extract_inner_model, load_subject


class Separator:
    """STFT, network, inverse STFT, sum of the branches.

    Args:
        sessions: one for each model of the subject; more than one for a bag.
        weights: for each of them, the weight of each stem in the weighted mean.
        geometry: the sizes of the models' inputs.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        weights: Sequence[Sequence[float]],
        geometry: Geometry = PUBLISHED,
    ) -> None:
        self.geometry = geometry
        self._sessions = sessions
        table = np.asarray(weights, np.float32)
        self._shares = (table / table.sum(axis=0))[:, :, np.newaxis, np.newaxis]

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Return the stems [S, C, n] of ``audio`` [1, C, n], one segment, both float32."""
        spectrogram = spectrogram_from_waveform(torch.from_numpy(audio), self.geometry).numpy()
        inputs = {"spectrogram": spectrogram, "audio": audio}
        stems = stems_of(self._sessions[0].predict(inputs))
        if len(self._sessions) > 1:
            stems *= self._shares[0]
            for session, share in zip(self._sessions[1:], self._shares[1:], strict=True):
                stems += share * stems_of(session.predict(inputs))
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


def shapes_of(geometry: Geometry) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the network's inputs, as `check_contract` takes them."""
    return {
        "spectrogram_shape": geometry.spectrogram_shape,
        "audio_shape": geometry.audio_shape,
    }


def stems_of(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the stems [S, C, n] of ``freq`` [1, S, 2C, bins, frames] and ``time`` [1, S, C, n]."""
    time, freq = torch.from_numpy(outputs["time"]), torch.from_numpy(outputs["freq"])
    channels, length = time.shape[-2:]
    # The sample rate plays no part in a transform.
    geometry = Geometry(PUBLISHED.sample_rate, channels, 2 * freq.shape[-2], length)
    result: np.ndarray = waveform(freq, length, geometry).add_(time)[0].numpy()
    return result


def subject_sources(subject: str) -> tuple[str, ...]:
    """Return the names of a subject's stems, in order, without making its weights."""
    return describe_subject(subject).sources


def open_separator(
    subject: str, *, packages: Sequence[Path] = (), numerics: str = "storage"
) -> Separator:
    """Return what separates audio as ``subject`` does: PyTorch, or packages in its place.

    Raises:
        ParityError: not one package for each model of the subject.
        ContractError: a package with other inputs or outputs than the subject's.
    """
    if not packages:
        loaded = load_subject(subject)
        sessions = [TorchSession(extract_inner_model(model)) for model in loaded.models]
        return Separator(sessions, loaded.bag_weights, loaded.geometry)
    outline = describe_subject(subject)
    if len(packages) != len(outline.members):
        raise ParityError(
            f"{subject} has {len(outline.members)} model(s) and {len(packages)} package(s) "
            "were given: give one for each, in order"
        )
    opened = []
    for package in packages:
        check_contract(package, len(outline.sources), **shapes_of(outline.geometry))
        opened.append(open_engine("mil", Candidate(package=package), numerics=numerics))
    return Separator(opened, outline.bag_weights, outline.geometry)


def separate_file(audio: Path, separator: Separator) -> np.ndarray:
    """Separate a whole file into memory; stems [S, C, n] float32."""
    with AudioReader(audio, separator.geometry) as reader:
        return np.concatenate(list(separator.stream(reader.blocks())), axis=-1)
