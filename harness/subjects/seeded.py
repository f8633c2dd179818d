"""Seeded weights that are alive: every block of the network changes the result.

Freshly constructed HTDemucs models are blind: their layer scales are 1e-3 and 1e-4, so that a
network without its attention passes any gate. Here each tensor is drawn on its own, from a
generator that is seeded by its name, with a spread that lets every block count about as much as it
does in a trained network. Measured on the six-stem architecture with white noise: without any
attention 17 dB are left, with attention that looks everywhere alike 33 dB, without one transformer
layer 21 to 24 dB, without one residual branch 9 to 26 dB, with weights rounded to FP16 64 dB.
Larger spreads let blocks count even more, and rounding errors grow as in no trained network.

Values are uniform, made of the raw output of PCG64 by four float32 operations, each rounded once.
So the bits depend on neither the platform, nor the versions of NumPy and PyTorch, nor on the order
in which modules are constructed.
"""

from __future__ import annotations

import hashlib
import math
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from demucs import transformer
from demucs.demucs import LayerScale
from torch import Tensor, nn

_GAIN = 1.15
"""RMS behind a convolution or linear layer, relative to that before it. GELU and GLU take most of
it away again, and the residual branches add to it."""
_BRANCH_SCALE = 0.3
"""Layer scale of the residual branches (DConv), whose last norm makes their RMS about 0.5."""
_TRANSFORMER_SCALE = 0.25
"""Layer scale in the cross-transformer, which is normalised to RMS 1 behind each layer."""
_ATTENTION_SHARPNESS = 1.4
"""RMS of queries and keys. Its square is the spread of the attention's logits: below 1 a head
averages thousands of tokens into a constant, far above it picks one and amplifies rounding."""
_OUTPUT_GAINS = {"decoder": 2.2, "tdecoder": 1.1}
"""Gains of the last convolutions, for stems about as loud as the mixture, half from each branch."""


def seeded_state(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Return a value for each parameter of ``model``, float32, by its name in the state dict.

    Args:
        model: an HTDemucs; only names, types and shapes are read, so it may be on "meta".
        seed: 0 to 2^63 - 1; another seed gives other values of the same distribution.
    """
    outputs = _output_gains(model)
    state: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            name = f"{path}.{leaf}" if path else leaf
            unit = _unit_uniform(name, seed, tuple(parameter.shape))
            if isinstance(module, nn.MultiheadAttention) and leaf == "in_proj_weight":
                value = unit * _attention_stds(module.embed_dim)
            else:
                mean, std = _distribution(module, leaf, outputs.get(path, _GAIN))
                value = np.float32(mean) + unit * np.float32(std)
            state[name] = torch.from_numpy(np.ascontiguousarray(value))
    return state


def _unit_uniform(name: str, seed: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return values with mean 0 and standard deviation 1, drawn for ``name`` alone."""
    size = math.prod(shape)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    bits = np.random.PCG64(int.from_bytes(digest[:16], "little")).random_raw((size + 1) // 2)
    halves = bits.astype("<u8", copy=False).view("<u4")[:size]
    # Of 24 bits, which float32 holds exactly, centred on zero: exact, too. One rounding follows.
    centred = (halves >> np.uint32(8)).astype(np.float32) - np.float32(2**23 - 0.5)
    unit = centred * np.float32(math.sqrt(3) * 2.0**-23)
    return np.asarray(unit.reshape(shape), dtype=np.float32)


def _distribution(module: nn.Module, leaf: str, gain: float) -> tuple[float, float]:
    """Return mean and deviation of the parameter ``leaf`` of ``module``, to make RMS ``gain``."""
    if isinstance(module, LayerScale):
        return _BRANCH_SCALE, 0.2 * _BRANCH_SCALE
    if isinstance(module, transformer.LayerScale):
        return _TRANSFORMER_SCALE, 0.2 * _TRANSFORMER_SCALE
    if isinstance(module, nn.GroupNorm | nn.LayerNorm):
        return (1.0, 0.2) if leaf == "weight" else (0.0, 0.1)
    if isinstance(module, nn.Embedding):
        return 0.0, 0.25
    if leaf != "weight":
        return 0.0, 0.1
    return 0.0, gain / math.sqrt(_fan_in(module))


def _fan_in(module: nn.Module) -> float:
    """Return how many products are added up for one output of ``module``."""
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return module.in_channels * math.prod(module.kernel_size) / math.prod(module.stride)
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return module.in_channels * math.prod(module.kernel_size)
    if isinstance(module, nn.Linear):
        return module.in_features
    raise TypeError(f"no seeded distribution for the weight of a {type(module).__name__}")


def _attention_stds(width: int) -> npt.NDArray[np.float32]:
    """Return the standard deviations of the rows of a query, key and value projection."""
    query_key = _ATTENTION_SHARPNESS / math.sqrt(width)
    value = _GAIN / math.sqrt(width)
    column = [query_key] * (2 * width) + [value] * width
    return np.array(column, dtype=np.float32)[:, None]


def _output_gains(model: nn.Module) -> dict[str, float]:
    """Return the gains of the convolutions that make the outputs, by their paths."""
    return {
        f"{branch}.{len(cast(nn.ModuleList, model.get_submodule(branch))) - 1}.conv_tr": gain
        for branch, gain in _OUTPUT_GAINS.items()
    }
