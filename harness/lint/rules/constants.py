"""Constants that are not what they were: infinite, not a number, or without their bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from harness.lint.finding import Hit
from harness.lint.registry import code, error, issue, warning
from harness.lint.view import View, in_fp16
from harness.mil import DataType
from harness.mil.graph import GraphValue, Node
from harness.mil.numerics.rounding import FP16_MAX, FP16_SMALLEST_SUBNORMAL

WEIGHING: Final = frozenset(
    {
        "mul", "real_div", "pow", "conv", "conv_transpose", "linear", "matmul", "einsum", "lstm",
        "gru", "rnn", "batch_norm", "layer_norm", "instance_norm", "l2_norm", "prelu",
    }
)  # fmt: skip
"""Operations that multiply by what they read: an infinity there is no mask."""
BOUNDS: Final = frozenset(
    {
        "clip", "maximum", "minimum", "less", "less_equal", "greater", "greater_equal", "equal",
        "not_equal", "while_loop", "reduce_max", "reduce_min", "pad", "fill", "fill_like",
    }
)  # fmt: skip
"""Operations for which an infinity is a bound, or a start value, that nothing exceeds."""

_TARGET_DB: Final = 60.0
"""What a converted branch is held to; gates are the verdicts' and not this room's to know."""
_FP16_CASTS: Final = code("converters/mil/mil/passes/defs/quantization.py")


def _hit(value: GraphValue, readers: Sequence[tuple[Node, str]], what: str) -> Hit:
    """Return a hit at the first of some readers of a constant."""
    if not readers:
        return Hit(f"the constant {value.name!r} {what}")
    node, parameter = readers[0]
    name = f" ({value.name!r})" if value.name else ""
    return Hit(f"its constant {parameter}{name} {what}", node)


def _weighing(value: GraphValue) -> list[tuple[Node, str]]:
    return [(node, parameter) for node, parameter in value.readers if _weighs(node)]


def _weighs(node: Node) -> bool:
    type_ = node.operation.type
    return type_ in WEIGHING or type_.startswith("constexpr_")


@error(
    source=issue(2669),
    next_step="look for a 0/0 or inf - inf in the checkpoint, or in what conversion folded",
)
def constant_nan(view: View) -> Iterator[Hit]:
    """A constant holds NaN, which spreads to everything that reads it."""
    for value, array in view.floating_constants():
        count = int(np.isnan(array).sum())
        if count:
            yield _hit(value, value.readers, f"holds {count} NaN of {array.size}")


@error(
    source=_FP16_CASTS,
    next_step="keep the operation in FP32, or scale the constant into the range of FP16",
)
def constant_infinite(view: View) -> Iterator[Hit]:
    """A constant that is multiplied by, or returned, is infinite: it was over 65,504 in FP16."""
    for value, array in view.floating_constants():
        weighing = _weighing(value)
        count = int(np.isinf(array).sum()) if weighing or value.leaves else 0
        if count:
            what = f"holds {count} infinities of {array.size}, in {value.dtype}"
            yield _hit(value, weighing, what)


@warning(
    source=issue(2669),
    next_step="mask with a finite number such as -1e4, or see that no row is masked as a whole",
)
def infinite_mask(view: View) -> Iterator[Hit]:
    """A constant that is added or selected is infinite: a row of nothing else becomes NaN."""
    for value, array in view.floating_constants():
        masks = [
            (node, name)
            for node, name in value.readers
            if not _weighs(node) and node.operation.type not in BOUNDS
        ]
        count = int(np.isinf(array).sum()) if masks else 0
        if count:
            yield _hit(value, masks, f"holds {count} infinities of {array.size}")


@warning(source=issue(2669), next_step="mask with a number that FP16 holds, such as -1e4")
def finite_mask_becomes_infinite(view: View) -> Iterator[Hit]:
    """A finite constant beyond 65,504 is combined in FP32, and the result is cast to FP16."""
    for value, array in view.floating_constants():
        peak = _peak(array)
        if peak <= FP16_MAX:
            continue
        for node, parameter in value.readers:
            results = [result for result in node.results if result.dtype is DataType.FLOAT32]
            readers = (reader for result in results for reader, _ in result.readers)
            casts = any(r.operation.type == "cast" and in_fp16(r) for r in readers)
            if casts and node.operation.type not in BOUNDS:
                yield _hit(value, [(node, parameter)], f"reaches {peak:.4g}")


@warning(
    source=f"{_FP16_CASTS} (fp16_overflow); {issue(2814)}",
    next_step="keep the operation in FP32 in every recipe, or rescale its weights",
)
def weight_beyond_fp16(view: View) -> Iterator[Hit]:
    """A weight in FP32 is over 65,504: in FP16, as the Neural Engine computes, it is infinite."""
    for value, array in view.floating_constants():
        weighing = _weighing(value)
        if weighing and value.dtype is DataType.FLOAT32 and _peak(array) > FP16_MAX:
            yield _hit(value, weighing, f"reaches {_peak(array):.4g}")


def _peak(array: np.ndarray) -> float:
    finite = np.abs(array[np.isfinite(array)], dtype=np.float64)
    return float(finite.max()) if finite.size else 0.0


@warning(
    source="IEEE 754: FP16 has steps of 2^-24 below 2^-14",
    next_step="scale the constant up and the operation's result down, or keep it in FP32",
)
def constant_lost_its_bits(view: View) -> Iterator[Hit]:
    """A constant in FP16 is so small that its rounding alone keeps it below 60 dB."""
    for value, array in view.floating_constants():
        if value.dtype is not DataType.FLOAT16 or array.size < 2 or not np.isfinite(array).all():
            continue
        rms = math.sqrt(float(np.mean(np.square(array, dtype=np.float64))))
        if rms == 0:
            continue
        # Below 2^-14 the steps are even. Rounding to even steps has an error with an RMS of
        # step / sqrt(12) (Widrow and Kollar, Quantization Noise, 2008): this is the best there is.
        best_db = 20 * math.log10(rms * math.sqrt(12) / FP16_SMALLEST_SUBNORMAL)
        if best_db < _TARGET_DB and value.readers:
            what = f"has an RMS of {rms:.3g}: {best_db:.0f} dB at best"
            yield _hit(value, value.readers, what)


@error(
    source="IEEE 754: x / 0 is infinite, and 0 / 0 NaN",
    next_step="see what the divisor was before conversion: FP16 makes zero of less than 3e-8",
)
def division_by_zero(view: View) -> Iterator[Hit]:
    """A constant divisor has zeros in it."""
    for node in view.of("real_div", "floor_div", "mod"):
        array = view.array(node.read("y"))
        zeros = 0 if array is None else int((array == 0).sum())
        if array is not None and zeros:
            yield Hit(f"its divisor holds {zeros} zeros of {array.size}", node)
