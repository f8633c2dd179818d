"""From tensors to models: what must be true of weights before anything is proven with them.

A state dict that comes out of here has exactly the names and shapes of its architecture, is float32
and finite. What is merely odd (a huge weight, a matrix of zeros) is reported as a warning.
"""

from __future__ import annotations

import hashlib
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from demucs.htdemucs import HTDemucs
from torch import Tensor

from harness.errors import CheckpointError, ParityError
from harness.subjects.checkpoints import Checkpoint
from harness.subjects.names import Architecture
from harness.subjects.values import shown

LARGE_MAGNITUDE: Final = 1e3
"""Trained weights stay far below; one flipped exponent bit leaps above."""

LARGEST_COUNT: Final = 10**9
"""Parameters; the published networks have 42 million. Seeded ones are made at any size."""

_UNBUILDABLE: Final = (
    AssertionError, ArithmeticError, AttributeError, ImportError, LookupError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip
"""What HTDemucs' constructor raises on numbers that don't go together; its arguments are plain
values of bounded size by then, and nothing else happens in there."""


class UnusualWeightsWarning(UserWarning):
    """Weights that can be used, but look damaged or unfinished."""


def empty_model(architecture: Architecture) -> HTDemucs:
    """Return a model on the "meta" device: names and shapes, without memory and random numbers.

    Raises:
        ParityError: HTDemucs can't be constructed with these arguments.
    """
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's about what is refused below
            model = HTDemucs(list(architecture.sources), **architecture.arguments)
    except _UNBUILDABLE as error:
        line = traceback.extract_tb(error.__traceback__)[-1].line  # an assertion may have no words
        raise ParityError(_no_such(architecture, str(error) or f"it breaks {line!r}")) from error
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > LARGEST_COUNT:
        raise ParityError(_no_such(architecture, f"it has {count:,} parameters"))
    for name, parameter in model.named_parameters():
        if parameter.numel() == 0:
            reason = f"{name!r} has shape {list(parameter.shape)}, too few channels are left for it"
            raise ParityError(_no_such(architecture, reason))
    return model


def _no_such(architecture: Architecture, reason: str) -> str:
    return (
        f"no HTDemucs has the constructor arguments of this {architecture.name}: "
        f"{reason.splitlines()[0][:160]}"
    )


def model_from_state(architecture: Architecture, state: Mapping[str, Tensor]) -> HTDemucs:
    """Return a model in eval mode, without gradients, that uses the tensors of ``state``."""
    return _filled(empty_model(architecture), state)


def _filled(model: HTDemucs, state: Mapping[str, Tensor]) -> HTDemucs:
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def model_from_checkpoint(
    architecture: Architecture, checkpoint: Checkpoint
) -> tuple[HTDemucs, tuple[str, ...], tuple[str, ...]]:
    """Return the model with the weights of ``checkpoint``, what is odd about them, and notes.

    Args:
        architecture: the checkpoint's own, as `harness.subjects.arguments.resolve` found it.
        checkpoint: the tensors.

    Raises:
        CheckpointError: other names, shapes or kinds of tensors than those of ``architecture``, or
            values that are not finite; the message names the culprit.
    """
    model = empty_model(architecture)
    expected = model.state_dict()
    _check_tensors(checkpoint, expected)
    state = {name: checkpoint.state[name].to(torch.float32).contiguous() for name in expected}
    oddities = _check_values(checkpoint, state)
    return _filled(model, state), tuple(oddities), _casts(checkpoint)


def _casts(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Say which tensors were no float32; widening FP16 and BF16 is exact, narrowing is not."""
    kinds = Counter(
        str(tensor.dtype).removeprefix("torch.")
        for tensor in checkpoint.state.values()
        if tensor.dtype != torch.float32
    )
    return tuple(
        f"{count} tensors are stored as {kind} and were cast to float32"
        for kind, count in sorted(kinds.items())
    )


def fingerprint(models: Iterable[torch.nn.Module], identity: str = "") -> str:
    """Return the SHA-256 (hexadecimal) over names, shapes and bytes of all tensors, by name.

    Args:
        models: all of a subject.
        identity: what they are beyond their tensors, ahead of them in the hash if not empty.
    """
    digest = hashlib.sha256(identity.encode())
    for model in models:
        state: dict[str, Tensor] = model.state_dict()
        for name in sorted(state):
            array = state[name].detach().cpu().contiguous().numpy()
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{name}:{little_endian.dtype.str}:{array.shape};".encode())
            digest.update(little_endian.tobytes())
        digest.update(b"end of model;")
    return digest.hexdigest()


def _check_tensors(checkpoint: Checkpoint, expected: Mapping[str, Tensor]) -> None:
    state = checkpoint.state
    lacking, strange = expected.keys() - state.keys(), state.keys() - expected.keys()
    problems = [
        f"{verb} tensor {shown(min(names))}" + f" and {len(names) - 1} more" * (len(names) > 1)
        for verb, names in (("lacks", lacking), ("has the unexpected", strange))
        if names
    ]
    if problems:
        raise CheckpointError(f"checkpoint {checkpoint.path} {', and '.join(problems)}")
    for name, reference in expected.items():
        tensor = state[name]
        if tensor.shape != reference.shape:
            raise CheckpointError(
                f"tensor {name!r} of checkpoint {checkpoint.path} has shape {list(tensor.shape)}, "
                f"expected {list(reference.shape)}"
            )
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"tensor {name!r} of checkpoint {checkpoint.path} has type {tensor.dtype}, "
                "expected a floating point type"
            )


def _check_values(checkpoint: Checkpoint, state: Mapping[str, Tensor]) -> list[str]:
    """Refuse values that are not finite; return what is odd about the others."""
    oddities = []
    for name, tensor in state.items():
        largest = float(tensor.abs().max())  # NaN if any value is
        if not largest < float("inf"):
            count = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f"tensor {name!r} of checkpoint {checkpoint.path} has {count} values that are NaN "
                f"or infinite (of {tensor.numel()}); the file is damaged, or training diverged"
            )
        if largest > LARGE_MAGNITUDE:
            oddities.append(
                f"tensor {name!r} of checkpoint {checkpoint.path} has a value of magnitude "
                f"{largest:.3g}, above {LARGE_MAGNITUDE:g}"
            )
        if largest == 0 and tensor.dim() > 1:
            oddities.append(f"tensor {name!r} of checkpoint {checkpoint.path} is all zeros")
    return oddities
