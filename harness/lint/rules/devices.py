"""What Core ML computes wrongly on some of its units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.lint.finding import Hit
from harness.lint.registry import issue, warning
from harness.lint.view import View, elements, in_fp16, origin, shape_of
from harness.mil import DataType
from harness.mil.graph import Node
from harness.mil.numerics.rounding import FP16_MAX

_KEEP_FP32: Final = "keep the operation in FP32 and off the Neural Engine, or write it out"
_BATCH: Final = 10
"""From this batch on the GPU's fused attention is wrong."""


@warning(source=issue(2687), next_step=_KEEP_FP32)
def softplus_in_fp16(view: View) -> Iterator[Hit]:
    """Softplus in FP16 drops to 0 above 10.4 on the Neural Engine."""
    for node in view.of("softplus", "softplus_parametric"):
        if in_fp16(node):
            yield Hit("is computed in FP16", node)


@warning(
    source=issue(2690, 2726),
    next_step="subtract the maximum first: max(x) + log(sum(exp(x - max(x))))",
)
def log_sum_exp_in_fp16(view: View) -> Iterator[Hit]:
    """A log-sum-exp in FP16 overflows in its sum on the Neural Engine, and gives 0."""
    for node in view.of("reduce_log_sum_exp"):
        if in_fp16(node):
            yield Hit("is computed in FP16", node)


@warning(source=issue(2729), next_step="subtract the maximum before exp and add it after log")
def log_of_summed_exponentials(view: View) -> Iterator[Hit]:
    """A logarithm in FP16 of summed exponentials: exp overflows above 11."""
    for node in view.of("log"):
        summed = origin(node.read("x"))
        if summed is None or summed.operation.type not in ("cumsum", "reduce_sum"):
            continue
        exponential = origin(summed.read("x"))
        if exponential is None or exponential.operation.type != "exp" or not in_fp16(exponential):
            continue
        argument = origin(exponential.read("x"))
        if argument is None or argument.operation.type != "sub":
            yield Hit(f"sums exp {exponential.operation.name!r} in FP16", node)


@warning(
    source=issue(2650),
    next_step="run it on the CPU or the Neural Engine, or split and join before the softmax",
)
def attention_of_large_batch(view: View) -> Iterator[Hit]:
    """Attention written as matmul, add, softmax, matmul is wrong on the GPU from a batch of 10."""
    for node in view.of("softmax"):
        x = node.read("x")
        added = x.producer if x is not None else None
        if added is None or added.operation.type != "add":
            continue
        products = [v.producer for _, v in added.inputs if v.producer is not None]
        from_product = any(p.operation.type == "matmul" for p in products)
        to_product = any(r.operation.type == "matmul" for r, _ in node.results[0].readers)
        shape = shape_of(node.results[0])
        if from_product and to_product and shape and len(shape) > 3 and (shape[0] or 0) >= _BATCH:
            yield Hit(f"has a batch of {shape[0]}", node)


@warning(
    source=issue(2324),
    next_step="pad evenly and cut the result with slice_by_index, or keep it in FP32",
)
def uneven_transposed_convolution(view: View) -> Iterator[Hit]:
    """A transposed convolution in FP16 with uneven padding comes out shifted."""
    for node in view.of("conv_transpose"):
        pads = view.numbers(node.read("pad"))
        uneven = [pads[i : i + 2] for i in range(0, len(pads), 2) if len(set(pads[i : i + 2])) > 1]
        if in_fp16(node) and uneven and view.text(node.read("pad_type")) == "custom":
            yield Hit(f"pads {[int(size) for size in pads]}", node)


@warning(
    source=issue(2281),
    next_step="leave out output_shape, and pad or cut the result by an operation of its own",
)
def transposed_convolution_of_another_shape(view: View) -> Iterator[Hit]:
    """A transposed convolution asks for a shape that its padding doesn't give."""
    for node in view.of("conv_transpose"):
        wanted, natural = view.numbers(node.read("output_shape")), _natural(view, node)
        if wanted and natural and [int(size) for size in wanted[2:]] != natural:
            what = f"asks for {[int(size) for size in wanted[2:]]}, and its padding gives {natural}"
            yield Hit(what, node)


def _natural(view: View, node: Node) -> list[int]:
    """Return the sizes that a transposed convolution has by its own parameters, [] if unknown."""
    shape, kernel = shape_of(node.read("x")), shape_of(node.read("weight"))
    pad_type = view.text(node.read("pad_type")) or "valid"
    if not shape or not kernel or pad_type not in ("valid", "custom"):
        return []
    count = len(shape) - 2
    strides = view.numbers(node.read("strides")) or (1,) * count
    dilations = view.numbers(node.read("dilations")) or (1,) * count
    pads = view.numbers(node.read("pad")) if pad_type == "custom" else (0,) * (2 * count)
    lengths = (len(pads) / 2, len(strides), len(dilations), len(kernel) - 2)
    if any(length != count for length in lengths) or None in (*shape[2:], *kernel[2:]):
        return []
    return [
        int(((shape[2 + i] or 0) - 1) * strides[i])
        + int(dilations[i] * ((kernel[2 + i] or 0) - 1) + 1)
        - int(pads[2 * i] + pads[2 * i + 1])
        for i in range(count)
    ]


@warning(
    source="FP16 ends at 65,504: a signal of RMS 1 passes it after as many elements",
    next_step="take a mean instead of a sum, or keep the reduction in FP32",
)
def sum_of_squares_in_fp16(view: View) -> Iterator[Hit]:
    """A sum of squares in FP16 runs over more elements than FP16 can count."""
    for node in view.of("reduce_sum", "reduce_sum_square", "reduce_l2_norm"):
        x = node.read("x")
        result, total = elements(node.results[0]), elements(x)
        if x is None or x.dtype is not DataType.FLOAT16 or not result or not total:
            continue
        if node.operation.type == "reduce_sum":
            source = origin(x)
            if source is None or not _is_square(source):
                continue
        if total // result > FP16_MAX:
            yield Hit(f"sums {total // result:,} squares", node)


def _is_square(node: Node) -> bool:
    if node.operation.type == "mul":
        return node.read("x") is node.read("y")
    return node.operation.type == "square"
