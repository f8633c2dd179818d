"""What a subject is, without its weights: its networks, their stems, and the sizes of their inputs.

`describe_subject` answers from a name, so that whoever has to know the stems or the shapes needs no
weights. `read_stored` reads the checkpoints on the way to a `Subject`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from demucs.htdemucs import HTDemucs

from harness.audio.contract import Geometry
from harness.errors import CheckpointError
from harness.subjects.arguments import (
    Resolved,
    complete_arguments,
    geometry_of,
    resolve,
    same_network,
    with_options,
)
from harness.subjects.checkpoints import Checkpoint, read_checkpoint
from harness.subjects.locate import Located, locate_given, locate_pretrained
from harness.subjects.names import ARCHITECTURES, Architecture, SubjectName, parse_subject_name
from harness.subjects.weights import empty_model


@dataclass(frozen=True)
class Outline:
    """What a subject is, without its weights.

    Attributes:
        name: ``NAME[@WEIGHTS][?OPTIONS]``.
        members: one architecture for each model, with all of its arguments.
        bag_weights: for each model, the weight of each of its stems in the result.
        sources: names of the stems, in the order of the outputs.
        geometry: the sizes of the inputs, and the sound that they stand for.
    """

    name: str
    members: tuple[Architecture, ...]
    bag_weights: tuple[tuple[float, ...], ...]
    sources: tuple[str, ...]
    geometry: Geometry

    def empty_model(self) -> HTDemucs:
        """Return the first model on the "meta" device, in eval mode."""
        return empty_model(self.members[0]).eval()


@dataclass(frozen=True)
class Stored:
    """A subject's checkpoints, and what they were found to be.

    Attributes:
        outline: all of them together.
        resolved: what each model is constructed with.
        checkpoints: the files' contents, in the same order.
    """

    outline: Outline
    resolved: tuple[Resolved, ...]
    checkpoints: tuple[Checkpoint, ...]


def describe_subject(name: str) -> Outline:
    """Return what the subject ``NAME[@WEIGHTS][?OPTIONS]`` is, without making its weights.

    A checkpoint is read once in a process, as long as its file stays as it is. Published weights
    are not looked for: they are known.

    Raises:
        UnknownNameError, ParityError, CheckpointError: as `load_subject`.
    """
    parsed = parse_subject_name(name)
    if parsed.path is None:
        return seeded_outline(parsed)
    located = _located(parsed)
    stamps = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in located.files)
    return _described(parsed, located, stamps)


def seeded_outline(parsed: SubjectName) -> Outline:
    """Return what a subject is whose weights are not in a file, or are the published ones.

    Raises:
        UnknownNameError, ParityError: an option that doesn't exist or can't be.
    """
    row = ARCHITECTURES[parsed.architecture]
    changed = with_options(row, parsed)
    return _outline(parsed, changed, [Resolved(changed)] * len(row.members), Located(()))


def read_stored(parsed: SubjectName) -> Stored:
    """Read the checkpoints of a subject.

    Raises:
        UnknownNameError, ParityError, CheckpointError, WeightsUnavailableError: as `load_subject`.
    """
    return _read(parsed, _located(parsed))


@lru_cache(maxsize=32)
def _described(
    parsed: SubjectName, located: Located, _stamps: tuple[tuple[int, int], ...]
) -> Outline:
    return _read(parsed, located).outline


def _located(parsed: SubjectName) -> Located:
    row = ARCHITECTURES[parsed.architecture]
    if parsed.path is not None:
        return locate_given(row, parsed.path)
    return Located(locate_pretrained(row))


def _read(parsed: SubjectName, located: Located) -> Stored:
    row = ARCHITECTURES[parsed.architecture]
    checkpoints = tuple(read_checkpoint(file) for file in located.files)
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
    return Stored(_outline(parsed, row, found, located), tuple(found), checkpoints)


def _at_most(member: Resolved, segment: float) -> Resolved:
    """Shorten the segment to what a list of models says, as Demucs' bags do; it never grows."""
    arguments = complete_arguments(member.architecture)
    if segment >= arguments["segment"]:
        return member
    rest = {key: value for key, value in arguments.items() if key != "sources"}
    shorter = replace(member.architecture, arguments={**rest, "segment": segment})
    note = (
        f"segments of {segment} s instead of {arguments['segment']} s, as the list of models says"
    )
    return replace(member, architecture=shorter, notes=(*member.notes, note))


def _outline(
    parsed: SubjectName, row: Architecture, found: Sequence[Resolved], located: Located
) -> Outline:
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
    return Outline(str(parsed), members, weights, first.sources, geometry)
