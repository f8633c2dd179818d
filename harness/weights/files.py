"""State dicts in files: read as data, written as safetensors that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from safetensors.torch import save_file
from torch import Tensor, nn

from harness.atomic import atomic_file
from harness.errors import ParityError
from harness.subjects import describe_subject, load_subject
from harness.subjects.checkpoints import CHECKPOINT_SUFFIXES, read_checkpoint
from harness.subjects.htdemucs import HTDemucsNetwork
from harness.subjects.protocol import Network
from harness.subjects.seeded import seeded_state
from harness.subjects.weights import empty_model, model_from_state

State: TypeAlias = Mapping[str, Tensor]


class WeightsError(ParityError):
    """Weights, or what is to be done with them, are not what they must be."""


def read_weights(source: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors of a checkpoint file or of a subject, as stored, and notes on reading.

    Args:
        source: a path with a checkpoint's suffix, or the name of a subject of one model.

    Raises:
        ParityError: the file is missing or broken; there is no such subject, or it is a bag.
    """
    if source.endswith(CHECKPOINT_SUFFIXES) and "@" not in source:
        checkpoint = read_checkpoint(Path(source))
        return dict(checkpoint.state), checkpoint.notes
    return dict(load_subject(source).model.state_dict()), ()


def model_like(subject: str) -> tuple[Network, nn.Module]:
    """Return a network, and a model with its names and shapes; its values are nobody's.

    Raises:
        ParityError: there is no such subject, or it is a bag of several models.
    """
    network = describe_subject(subject)
    if not isinstance(network, HTDemucsNetwork):
        return network, network.build()
    if len(network.members) > 1:
        raise WeightsError(f"{subject} is a bag of {len(network.members)} models; name one of them")
    member = network.members[0]
    return network, model_from_state(member, seeded_state(empty_model(member), 0))


def write_weights(path: Path, state: State, about: Mapping[str, str]) -> None:
    """Write tensors to a safetensors file, with ``about`` as its metadata.

    Raises:
        WeightsError: the suffix is another, or there is no tensor.
    """
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path} must end in .safetensors: it is what is written")
    if not state:
        raise WeightsError(f"no tensor is left to be written to {path}")
    dense = {name: tensor.detach().contiguous().clone() for name, tensor in state.items()}
    with atomic_file(path) as temporary:
        save_file(dense, temporary, metadata=dict(about))
