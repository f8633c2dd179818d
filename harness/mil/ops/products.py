"""Large matrix products in float32, by the library that is fast on this processor.

PyTorch multiplies with MKL, which has its widest kernels for Intel's processors alone. oneDNN, with
which PyTorch convolves, has them for any with AVX-512: 238 instead of 105 GFLOP/s on one core of an
AMD EPYC, where its sums lose 1.7 to 2.3 times as much (4e-7 of the norm at 512 terms). It rounds no
operand, and treats infinities and NaN as every product does. It has no derivative.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

_PLAIN: ContextVar[bool] = ContextVar("plain products", default=False)
_LARGE: Final = 1 << 21  # multiplications, from which on the call of another library pays
_BLOCK_ELEMENTS: Final = 1 << 21  # of scores: they stay in a cache


@contextlib.contextmanager
def plain_products() -> Iterator[None]:
    """Have every product made by PyTorch's own kernels, for who replaces those."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


@cache
def _other() -> Any:
    """Return oneDNN's product where it is faster; None elsewhere."""
    try:
        vendor = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    narrow = "GenuineIntel" not in vendor and torch.backends.mkl.is_available()
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    if not (narrow and wide and torch.backends.mkldnn.is_available()):
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _takes(multiplications: int, *tensors: Tensor) -> bool:
    if multiplications < _LARGE or _other() is None or _PLAIN.get():
        return False
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    return all(t.dtype is torch.float32 and t.device.type == "cpu" for t in tensors)


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``a`` [..., K] times the transpose of ``b`` [N, K], plus ``bias`` [N]."""
    made: Tensor = _other()(a, b, bias, "none", [], "")
    return made


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """Return ``x`` [..., K] times the transpose of ``weight`` [N, K], plus ``bias`` [N].

    Args:
        out: memory for the result, of its type and shape; what is returned may lie elsewhere.
    """
    given = (x, weight) if bias is None else (x, weight, bias)
    if x.ndim > 1 and _takes(x.numel() * weight.shape[0], *given):
        return _product(x, weight, bias)
    if out is None:
        return functional.linear(x, weight, bias)
    rows, matrix = x.reshape(-1, x.shape[-1]), out.view(-1, weight.shape[0])
    if bias is None:
        torch.mm(rows, weight.t(), out=matrix)
    else:
        torch.addmm(bias, rows, weight.t(), out=matrix)
    return out


def matmul(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Return ``a`` [..., M, K] times ``b`` [..., K, N] with NumPy's broadcasting.

    Args:
        out: as of `linear`.
    """
    pairs = a.ndim > 1 and b.ndim > 1 and a.shape[:-2] == b.shape[:-2]
    # Each product of a batch is a call of its own, so each has to be large.
    if pairs and _takes(math.prod(a.shape[-2:]) * b.shape[-1], a, b):
        shape = (*a.shape[:-1], b.shape[-1])
        made = a.new_empty(shape) if out is None else out
        parts = (x.reshape(-1, *x.shape[-2:]) for x in (a, b))
        for one, other, place in zip(*parts, made.view(-1, *shape[-2:]), strict=True):
            place.copy_(_product(one, other.t()))
        return made
    return torch.matmul(a, b, out=out)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor | None:
    """Return softmax(q k^T / sqrt(E)) v of heads [..., L, E], [..., S, E] and [..., S, EV].

    Blocks of rows of the scores are made at once, so that they never leave a cache. ``None`` where
    PyTorch's fused kernel is no slower.
    """
    same = q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    heads, length, keys = math.prod(q.shape[:-2]), q.shape[-2], k.shape[-2]
    if not same or not _takes(q.numel() * keys // max(1, heads), q, k, v):
        return None
    y = q.new_empty(*q.shape[:-1], v.shape[-1])
    rows = max(1, _BLOCK_ELEMENTS // keys)
    queries = q * (1 / math.sqrt(q.shape[-1]))
    flat = [x.reshape(heads, *x.shape[-2:]) for x in (queries, k, v)]
    for query, key, value, made in zip(*flat, y.view(heads, length, -1), strict=True):
        turned = value.t().contiguous()
        for first in range(0, length, rows):
            block = slice(first, first + rows)
            shares = torch.softmax(_product(query[block], key), -1)
            made[block] = _product(shares, turned)
    return y
