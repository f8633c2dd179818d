"""From tensors to models: what must be true of weights before anything is proven with them.

A state dict that comes out of here has exactly the names and shapes of its architecture, is float32
and finite. What is merely odd (a huge weight, a matrix of zeros) is reported as a warning.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Final

import torch
from demucs.htdemucs import HTDemucs
from torch import Tensor

from harness.errors import CheckpointError
from harness.subjects.checkpoints import HTDEMUCS_CLASS, Checkpoint, shown
from harness.subjects.names import Architecture

LARGE_MAGNITUDE: Final = 1e3
"""Trained weights stay far below; one flipped exponent bit leaps above."""

_NO_EFFECT: Final = frozenset(
    (
        # used in training, or for the initial values, alone
        "t_dropout", "t_weight_decay", "t_lr", "rescale", "dconv_init", "emb_smooth",
        # belong to options that are off: masks instead of complex spectrograms, other positional
        # embeddings, sparse attention, split frequency bands
        "wiener_iters", "end_iters", "wiener_residual", "t_max_positions", "t_cape_mean_normalize",
        "t_cape_augment", "t_cape_glob_loc_scale", "t_mask_type", "t_mask_random_seed",
        "t_sparse_attn_window", "t_global_window", "t_sparsity", "t_auto_sparsity",
        "multi_freqs_depth",
        # whether a short input is padded; here inputs are whole segments
        "use_train_segment",
    )
)  # fmt: skip
"""Constructor arguments that change nothing of what the supported models compute."""


class UnusualWeightsWarning(UserWarning):
    """Weights that can be used, but look damaged or unfinished."""


def empty_model(architecture: Architecture) -> HTDemucs:
    """Return a model on the "meta" device: names and shapes, without memory and random numbers."""
    with torch.device("meta"):
        return HTDemucs(list(architecture.sources), **architecture.arguments)


def model_from_state(architecture: Architecture, state: Mapping[str, Tensor]) -> HTDemucs:
    """Return a model in eval mode, without gradients, that uses the tensors of ``state``."""
    model = empty_model(architecture)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def model_from_checkpoint(
    architecture: Architecture, checkpoint: Checkpoint
) -> tuple[HTDemucs, tuple[str, ...]]:
    """Return the model with the weights of ``checkpoint``, and what is odd about them.

    Each oddity is also issued as an `UnusualWeightsWarning`.

    Raises:
        CheckpointError: other class, arguments, names, shapes or kinds of tensors than those of
            ``architecture``, or values that are not finite; the message names the culprit.
    """
    oddities = _check_arguments(architecture, checkpoint)
    expected = empty_model(architecture).state_dict()
    _check_tensors(checkpoint, expected)
    state = {name: checkpoint.state[name].to(torch.float32).contiguous() for name in expected}
    oddities += _check_values(checkpoint, state)
    for oddity in oddities:
        warnings.warn(oddity, UnusualWeightsWarning, stacklevel=3)
    return model_from_state(architecture, state), tuple(oddities)


def fingerprint(models: Iterable[torch.nn.Module]) -> str:
    """Return the SHA-256 (hexadecimal) over names, shapes and bytes of all tensors, by name."""
    digest = hashlib.sha256()
    for model in models:
        state: dict[str, Tensor] = model.state_dict()
        for name in sorted(state):
            array = state[name].detach().cpu().contiguous().numpy()
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            digest.update(f"{name}:{little_endian.dtype.str}:{array.shape};".encode())
            digest.update(little_endian.tobytes())
        digest.update(b"end of model;")
    return digest.hexdigest()


def _check_arguments(architecture: Architecture, checkpoint: Checkpoint) -> list[str]:
    """Refuse a checkpoint of another network; return what it says that is not understood."""
    if checkpoint.klass is None or checkpoint.kwargs is None:
        return []
    if checkpoint.klass != HTDEMUCS_CLASS:
        raise CheckpointError(
            f"checkpoint {checkpoint.path} holds a {checkpoint.klass}, expected {HTDEMUCS_CLASS}"
        )
    signature = inspect.signature(HTDemucs)
    unknown = sorted(set(checkpoint.kwargs) - set(signature.parameters))
    known = {key: value for key, value in checkpoint.kwargs.items() if key not in unknown}
    try:
        actual = signature.bind(*checkpoint.args, **known)
    except TypeError as error:
        raise CheckpointError(
            f"checkpoint {checkpoint.path} has unusable constructor arguments: {error}"
        ) from error
    expected = signature.bind(architecture.sources, **architecture.arguments)
    actual.apply_defaults()
    expected.apply_defaults()
    for key, value in expected.arguments.items():
        if key not in _NO_EFFECT and not _same(key, actual.arguments[key], value):
            raise CheckpointError(
                f"checkpoint {checkpoint.path} was made with {key}={shown(actual.arguments[key])}, "
                f"but {architecture.name} has {key}={value}"
            )
    return [
        f"checkpoint {checkpoint.path} has the argument {shown(key)}, which this Demucs doesn't "
        "know"
        for key in unknown
    ]


def _same(key: str, actual: Any, expected: Any) -> bool:
    if isinstance(actual, list | tuple) and isinstance(expected, list | tuple):
        return list(actual) == list(expected)
    if key == "segment" and isinstance(actual, int | float):
        distance: Any = abs(actual - Fraction(expected))  # exact, of any size
        return bool(distance < 1e-9)  # 7.8 and 39/5
    return bool(actual == expected) or (not actual and not expected)


def _check_tensors(checkpoint: Checkpoint, expected: Mapping[str, Tensor]) -> None:
    state = checkpoint.state
    for problem, names in (
        ("lacks", expected.keys() - state.keys()),
        ("has the unexpected", state.keys() - expected.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(
                f"checkpoint {checkpoint.path} {problem} tensor {shown(min(names))}{more}"
            )
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
