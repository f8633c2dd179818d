"""Subjects: the PyTorch models under proof, with their weights.

`load_subject` makes one of its name, and `describe_subject` says what it will be without making its
weights. Its models are ``demucs.htdemucs.HTDemucs`` as Demucs would load them: float32, on the CPU,
in eval mode, without gradients, and the same in every process.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from demucs.htdemucs import HTDemucs
from torch import Tensor

from harness.audio.contract import Geometry
from harness.errors import ParityError
from harness.subjects.arguments import identity
from harness.subjects.names import ARCHITECTURES, Architecture, parse_subject_name
from harness.subjects.outline import Outline, read_stored, seeded_outline
from harness.subjects.seeded import seeded_state
from harness.subjects.weights import (
    UnusualWeightsWarning,
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
        name: ``NAME[@WEIGHTS][?OPTIONS]``.
        models: one HTDemucs, or the members of the bag.
        bag_weights: for each model, the weight of each of its stems in the result.
        sources: names of the stems, in the order of the outputs.
        geometry: the sizes of the inputs, and the sound that they stand for.
        fingerprint: SHA-256 over names, shapes and bytes of all weights, and over what else makes
            the network another than the published ones.
        warnings: what is odd about the weights or was assumed, one sentence each.
        notes: what was done to them, one sentence each.
    """

    name: str
    models: tuple[HTDemucs, ...]
    bag_weights: tuple[tuple[float, ...], ...]
    sources: tuple[str, ...]
    geometry: Geometry
    fingerprint: str
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def segment_length(self) -> int:
        """Samples in one segment."""
        return self.geometry.segment_length

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
    """Return the subject ``NAME[@WEIGHTS][?OPTIONS]``.

    Each of its warnings is also issued as an `UnusualWeightsWarning`.

    Raises:
        UnknownNameError: NAME is no architecture, or there is no such option.
        ParityError: WEIGHTS or an option can't be understood.
        CheckpointError: ``@PATH`` weights that can't be used.
        WeightsUnavailableError: trained weights that are not here and can't be downloaded.
    """
    parsed = parse_subject_name(name)
    oddities: list[str] = []
    notes: list[str] = []
    if parsed.seed is not None:
        outline = seeded_outline(parsed)
        models = _seeded_models(outline.members, parsed.seed)
    else:
        stored = read_stored(parsed)
        outline = stored.outline
        loaded = []
        for member, checkpoint in zip(stored.resolved, stored.checkpoints, strict=True):
            model, odd, said = model_from_checkpoint(member.architecture, checkpoint)
            loaded.append(model)
            oddities += (*member.warnings, *odd)
            notes += (*member.notes, *said)
        models = tuple(loaded)
    for oddity in oddities:
        warnings.warn(oddity, UnusualWeightsWarning, stacklevel=2)
    return Subject(
        name=str(parsed),
        models=models,
        bag_weights=outline.bag_weights,
        sources=outline.sources,
        geometry=outline.geometry,
        fingerprint=fingerprint(models, _identity(outline)),
        warnings=tuple(oddities),
        notes=tuple(notes),
    )


def separate_segment(subject: Subject, audio: Tensor) -> Tensor:
    """Return the stems [S, C, n] of one segment ``audio`` [1, C, n], float32, n = segment length.

    Each model's own forward is called, and a bag is averaged as Demucs does.

    Raises:
        ParityError: ``audio`` is not exactly one segment.
    """
    expected = subject.geometry.audio_shape
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


def _seeded_models(members: Sequence[Architecture], seed: int) -> tuple[HTDemucs, ...]:
    return tuple(
        model_from_state(member, seeded_state(empty_model(member), seed + index * _SEEDS_OF_A_BAG))
        for index, member in enumerate(members)
    )


def _identity(outline: Outline) -> str:
    """Return what of a subject its tensors don't show, and is not as in the published ones."""
    row = ARCHITECTURES[parse_subject_name(outline.name).architecture]
    own = [identity(member) for member in outline.members]
    ones = {1.0} == {weight for weights in outline.bag_weights for weight in weights}
    weights = [] if ones or outline.bag_weights == row.bag_weights else [*outline.bag_weights]
    return json.dumps([own, weights]) if any(own) or weights else ""
