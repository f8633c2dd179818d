"""Subjects: the PyTorch models under proof, with their weights.

`load_subject` makes one of its name. Its models are ``demucs.htdemucs.HTDemucs`` as Demucs would
load them: float32, on the CPU, in eval mode, without gradients, and the same in every process.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from demucs.htdemucs import HTDemucs
from torch import Tensor

from harness.errors import ParityError
from harness.subjects.checkpoints import read_checkpoint
from harness.subjects.locate import locate_given, locate_pretrained
from harness.subjects.names import ARCHITECTURES, Architecture, SubjectName, parse_subject_name
from harness.subjects.seeded import seeded_state
from harness.subjects.weights import (
    empty_model,
    fingerprint,
    model_from_checkpoint,
    model_from_state,
)

_SEEDS_OF_A_BAG = 1_000_003
"""Distance between the seeds of the members of a bag, so that the bags of small seeds differ."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, or a bag of models, with weights.

    Attributes:
        name: ``NAME[@WEIGHTS]``.
        models: one HTDemucs, or the members of the bag.
        bag_weights: for each model, the weight of each of its stems in the result.
        sources: names of the stems, in the order of the outputs.
        segment_length: samples in one segment.
        fingerprint: SHA-256 over names, shapes and bytes of all weights.
        warnings: what is odd about the weights, one sentence each.
    """

    name: str
    models: tuple[HTDemucs, ...]
    bag_weights: tuple[tuple[float, ...], ...]
    sources: tuple[str, ...]
    segment_length: int
    fingerprint: str
    warnings: tuple[str, ...] = ()

    @property
    def model(self) -> HTDemucs:
        """The only model.

        Raises:
            ParityError: this is a bag of several.
        """
        if len(self.models) > 1:
            raise ParityError(
                f"{self.name} is a bag of {len(self.models)} models, and one is needed here; "
                "take each of Subject.models"
            )
        return self.models[0]


def load_subject(name: str) -> Subject:
    """Return the subject ``NAME[@WEIGHTS]``.

    Raises:
        UnknownNameError: NAME is no architecture.
        ParityError: WEIGHTS can't be understood.
        CheckpointError: ``@PATH`` weights that can't be used.
        WeightsUnavailableError: trained weights that are not here and can't be downloaded.
    """
    parsed = parse_subject_name(name)
    architecture = ARCHITECTURES[parsed.architecture]
    warnings: tuple[str, ...] = ()
    if parsed.seed is not None:
        models = _seeded_models(architecture, parsed.seed)
    else:
        models, warnings = _stored_models(architecture, parsed)
    first = models[0]
    return Subject(
        name=str(parsed),
        models=models,
        bag_weights=architecture.bag_weights,
        sources=architecture.sources,
        segment_length=int(first.segment * first.samplerate),
        fingerprint=fingerprint(models),
        warnings=warnings,
    )


def separate_segment(subject: Subject, audio: Tensor) -> Tensor:
    """Return the stems [S, C, n] of one segment ``audio`` [1, C, n], float32, n = segment length.

    Each model's own forward is called, and a bag is averaged as Demucs does.

    Raises:
        ParityError: ``audio`` is not exactly one segment.
    """
    expected = (1, subject.models[0].audio_channels, subject.segment_length)
    if tuple(audio.shape) != expected:
        raise ParityError(
            f"audio has shape {list(audio.shape)}, but {subject.name} separates {list(expected)}"
        )
    weights = torch.tensor(subject.bag_weights, dtype=audio.dtype)[:, :, None, None]
    total = torch.zeros(())
    with torch.no_grad():
        for model, weight in zip(subject.models, weights, strict=True):
            total = total + model(audio)[0] * weight
    return total / weights.sum(dim=0)


def _seeded_models(architecture: Architecture, seed: int) -> tuple[HTDemucs, ...]:
    return tuple(
        model_from_state(
            architecture,
            seeded_state(empty_model(architecture), seed + member * _SEEDS_OF_A_BAG),
        )
        for member in range(len(architecture.members))
    )


def _stored_models(
    architecture: Architecture, name: SubjectName
) -> tuple[tuple[HTDemucs, ...], tuple[str, ...]]:
    if name.path is not None:
        files = locate_given(architecture, name.path)
    else:
        files = locate_pretrained(architecture)
    loaded = [model_from_checkpoint(architecture, read_checkpoint(file)) for file in files]
    return (
        tuple(model for model, _ in loaded),
        tuple(oddity for _, oddities in loaded for oddity in oddities),
    )
