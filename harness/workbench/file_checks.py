"""A subject on an audio file: what is expected of a package there, and in whose way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from harness.audio.files import AudioReader, read_audio
from harness.golden.builder import separate_blocks
from harness.metrics import rms
from harness.subjects import Subject
from harness.verdicts import Check, compare, gate
from harness.workbench.separator import Separator

OTHER_WAY: Final = (
    "no error of the conversion: Demucs' command normalises the file and cuts, pads and fades it "
    "otherwise (--like demucs judges a port of it)"
)
"""Why rows of a diagnosis have so few dB, said wherever they are shown."""


def original_stems(subject: Subject, audio: Path, like: str | None) -> np.ndarray:
    """Return PyTorch's stems [S, C, n] of a whole file, in our way or in that of its own library.

    Args:
        subject: a single model.
        audio: the file.
        like: of `harness.workbench.separator.LIKE`; ours by default.
    """
    if like is not None:
        return _by_library(subject, audio)
    with AudioReader(audio, subject.geometry) as reader:
        return separate_blocks(subject, reader.blocks())


def printable(path: Path) -> str:
    """Return a file's name as text that JSON can hold."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def against_library(
    subject: Subject, audio: Path, actual: np.ndarray, labels: Mapping[str, str]
) -> Iterable[Check]:
    """Compare with the way of the subject's own library through a file: a diagnosis."""
    stems, bounds = _by_library(subject, audio), gate("end_to_end")
    for index, stem in enumerate(subject.sources):
        outcome = compare(stems[index], actual[index], bounds)
        said = replace(outcome, reason=f"{outcome.reason}; {OTHER_WAY}")
        where = {**labels, "stem": stem, "what": "against Demucs' own command, a diagnosis"}
        yield Check("end_to_end", where, False, bounds, said)


def _by_library(subject: Subject, audio: Path) -> np.ndarray:
    """Return the stems of a file as the subject's own library makes them."""
    mixture = torch.from_numpy(read_audio(audio, subject.geometry))
    with torch.no_grad():
        stems: np.ndarray = subject.network.separate_file(subject.models, mixture).numpy()
    return stems


class Listening(Separator):
    """A separator that keeps the loudest segment [1, C, n] it was given."""

    loudest: np.ndarray

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Return the stems of a segment, and keep it if it is louder than those before."""
        if rms(audio) > self._level:
            self.loudest, self._level = audio.copy(), rms(audio)
        return super().__call__(audio)

    _level = -1.0
