"""HTDemucs subjects by their names: what one is, without its weights, and with them.

`describe_htdemucs` answers from a name, so that whoever has to know the stems or the shapes needs
no weights. The models of `load_htdemucs` are as Demucs would load them: float32, on the CPU, in
eval mode, without gradients, and the same in every process.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count
from typing import Final

from harness.errors import CheckpointError
from harness.subjects.arguments import (
    Resolved,
    complete_arguments,
    geometry_of,
    identity,
    resolve,
    same_network,
    with_arguments,
    with_options,
)
from harness.subjects.checkpoints import Checkpoint, read_checkpoint
from harness.subjects.htdemucs import HTDemucsNetwork
from harness.subjects.locate import Located, locate_given, locate_pretrained
from harness.subjects.names import ARCHITECTURES, Architecture, SubjectName, parse_subject_name
from harness.subjects.protocol import Subject
from harness.subjects.seeded import seeded_state
from harness.subjects.weights import (
    UnusualWeightsWarning,
    empty_model,
    fingerprint,
    model_from_checkpoint,
    model_from_state,
)

_SEEDS_OF_A_BAG: Final = 1_000_003
"""Distance between the seeds of the members of a bag, so that the bags of small seeds differ."""


def describe_htdemucs(name: str) -> HTDemucsNetwork:
    """Return what the subject ``NAME[@WEIGHTS][?OPTIONS]`` is, without making its weights.

    A checkpoint is read once in a process, as long as its file stays as it is. Published weights
    are not looked for: they are known.

    Raises:
        UnknownNameError, ParityError, CheckpointError: as `load_subject`.
    """
    parsed = parse_subject_name(name)
    if parsed.path is None:
        return _seeded(parsed)
    located = _located(parsed)
    stamps = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in located.files)
    return _described(parsed, located, stamps)


def load_htdemucs(name: str) -> Subject:
    """Return the subject ``NAME[@WEIGHTS][?OPTIONS]``.

    Raises:
        UnknownNameError, ParityError, CheckpointError, WeightsUnavailableError: as `load_subject`.
    """
    parsed = parse_subject_name(name)
    oddities: list[str] = []
    notes: list[str] = []
    if parsed.seed is not None:
        network = _seeded(parsed)
        seeds = count(parsed.seed, _SEEDS_OF_A_BAG)
        models = tuple(
            model_from_state(member, seeded_state(empty_model(member), next(seeds)))
            for member in network.members
        )
    else:
        network, stored = _read(parsed, _located(parsed))
        loaded = []
        for member, checkpoint in stored:
            model, odd, said = model_from_checkpoint(member.architecture, checkpoint)
            loaded.append(model)
            oddities += (*member.warnings, *odd)
            notes += (*member.notes, *said)
        models = tuple(loaded)
    for oddity in oddities:
        warnings.warn(oddity, UnusualWeightsWarning, stacklevel=3)
    digest = fingerprint(models, _identity(network))
    return Subject(str(parsed), network, models, digest, tuple(oddities), tuple(notes))


def _identity(network: HTDemucsNetwork) -> str:
    """Return what of a subject its tensors don't show, and is not as in the published ones."""
    row = ARCHITECTURES[parse_subject_name(network.name).architecture]
    own = [identity(member) for member in network.members]
    ones = {1.0} == {weight for weights in network.bag_weights for weight in weights}
    weights = [] if ones or network.bag_weights == row.bag_weights else [*network.bag_weights]
    return json.dumps([own, weights]) if any(own) or weights else ""


def _seeded(parsed: SubjectName) -> HTDemucsNetwork:
    """Return what a subject is whose weights are not in a file, or are the published ones."""
    row = ARCHITECTURES[parsed.architecture]
    changed = with_options(row, parsed)
    return _outline(parsed, changed, [Resolved(changed)] * len(row.members), Located(()))


@lru_cache(maxsize=32)
def _described(
    parsed: SubjectName, located: Located, _stamps: tuple[tuple[int, int], ...]
) -> HTDemucsNetwork:
    outline, _ = _read(parsed, located)
    return outline


def _located(parsed: SubjectName) -> Located:
    row = ARCHITECTURES[parsed.architecture]
    if parsed.path is not None:
        return locate_given(row, parsed.path)
    return Located(locate_pretrained(row))


def _read(
    parsed: SubjectName, located: Located
) -> tuple[HTDemucsNetwork, list[tuple[Resolved, Checkpoint]]]:
    """Return what a subject is, and of each model its arguments and its checkpoint."""
    row = ARCHITECTURES[parsed.architecture]
    checkpoints = [read_checkpoint(file) for file in located.files]
    found = [resolve(row, checkpoint, parsed) for checkpoint in checkpoints]
    if located.segment is not None:
        found = [_at_most(member, located.segment) for member in found]
    if parsed.path is None and not parsed.options:
        for member, checkpoint in zip(found, checkpoints, strict=True):
            difference = same_network(member.architecture, row)
            if difference is not None:
                raise CheckpointError(
                    f"checkpoint {checkpoint.path} is not that of {row.name}: it has {difference}"
                )
    return _outline(parsed, row, found, located), list(zip(found, checkpoints, strict=True))


def _at_most(member: Resolved, segment: float) -> Resolved:
    """Shorten the segment to what a list of models says, as Demucs' bags do; it never grows."""
    arguments = complete_arguments(member.architecture)
    if segment >= arguments["segment"]:
        return member
    shorter = with_arguments(member.architecture, arguments | {"segment": segment})
    note = (
        f"segments of {segment} s instead of {arguments['segment']} s, as the list of models says"
    )
    return replace(member, architecture=shorter, notes=(*member.notes, note))


def _outline(
    parsed: SubjectName, row: Architecture, found: Sequence[Resolved], located: Located
) -> HTDemucsNetwork:
    members = tuple(member.architecture for member in found)
    first, geometry = members[0], geometry_of(members[0])
    for other in members[1:]:
        if (other.sources, geometry_of(other)) != (first.sources, geometry):
            raise CheckpointError(
                f"the models of {parsed} differ: {', '.join(first.sources)} in {geometry}, but "
                f"{', '.join(other.sources)} in {geometry_of(other)}; those of a bag share their "
                "stems, channels, sample rate, STFT and segment"
            )
    weights = located.weights
    if weights is None:
        same = len(row.members) == len(members) and row.sources == first.sources
        ones = tuple(1.0 for _ in first.sources)
        weights = row.bag_weights if same else tuple(ones for _ in members)
    if len(weights[0]) != len(first.sources):
        raise CheckpointError(
            f"{parsed} weighs {len(weights[0])} stems, but its models separate {len(first.sources)}"
        )
    return HTDemucsNetwork(str(parsed), members, weights, first.sources, geometry)
