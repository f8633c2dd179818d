"""Graph passes that write operations in forms with less error where functions come from tables.

The file needs nothing but coremltools and NumPy: it is shipped as it stands beside a tuned recipe.

========================  =========================================================================
``gelu_over_exp``         GELU(x) = max(x, 0) - |x| / 2 exp(Q(|x|)): 14 operations, in FP32 the same
``gelu_over_exp_short``   the same with a shorter Q: 10 operations, exact enough for FP16 alone
``sigmoid_over_exp``      a sigmoid(b) = a / (1 + exp(-b)); alone 1 / (1 + exp(-b))
``group_norm_in_one``     mean, difference, square, mean, root and quotient as one ``layer_norm``
``attention_in_steps``    attention that divides by the sum of exponentials at its end, so that none
                          of them becomes subnormal, which products take for zero
``standard_in_range``     standardisation (x - mean) / (deviation + epsilon) of x by the octave of
                          its largest magnitude, so that no square overflows or vanishes
``weights_with_gain``     weights of products times 1 + 2.3e-4, which is what a device that cuts
                          sums towards zero in tiles of four takes from them; others get it wrong
========================  =========================================================================

Each takes the place of an operation under the name of its value, so that whatever refers to that
finds it. `insert_into` puts passes into a ``PassPipeline``, before casts to FP16 are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY, register_pass
from coremltools.converters.mil.mil.types import nptype_from_builtin

NAMESPACE = "parity_rewriting"
BEFORE = "common::dedup_op_and_var_names"  # after what fuses patterns, before casts to FP16

# Q(x) = x (q1 + q2 x + ...) near log(2 N(-x)), N the normal distribution, fitted on [0, 6] so that
# the greatest error of x / 2 exp(Q(x)), divided by x + 0.1, is least. The greatest error of all is
# 1.0e-6 with five terms and 2.0e-4 with three, beside 2.4e-4 for a rounding to FP16 just below 1.
# Both fall for all x: nothing comes back.
LONG = (-0.7978711684, -0.3183491667, -0.036409778, 0.0051162188, -0.0003588572)
SHORT = (-0.7944878293, -0.331702314, -0.0218086928)

# Of sums of products of normal numbers tiles of four lose 2.3e-4 to 2.5e-4, of rectified ones
# 1.9e-4 to 2.3e-4; of sums of 4 as of 1,536.
GAIN = 2.3e-4


def insert_into(pipeline: Any, names: Sequence[str]) -> Any:
    """Put the passes ``names`` into a coremltools ``PassPipeline``, in this order."""
    if names:  # one more round of it: what was the same in two places may be so only now
        pipeline.insert_pass(pipeline.passes.index(BEFORE), "common::remove_redundant_ops")
    for name in names:
        title = f"{NAMESPACE}::{name}"
        if title not in PASS_REGISTRY:
            register_pass(namespace=NAMESPACE, name=name)(_pass_of(name))
        pipeline.insert_pass(pipeline.passes.index(BEFORE), title)
    return pipeline


def rewrite(program: Any, name: str) -> None:
    """Apply the pass ``name`` to a coremltools ``Program``."""
    for function in program.functions.values():
        _apply(PASSES[name], function)


def _pass_of(name: str) -> Any:
    class Rewriting(AbstractGraphPass):  # type: ignore[misc]
        def apply(self, prog: Any) -> None:
            rewrite(prog, name)

    Rewriting.__doc__ = PASSES[name].__doc__
    return Rewriting


def _apply(form: Callable[[Any, Any], None], block: Any) -> None:
    with block:
        for operation in list(block.operations):
            for inner in operation.blocks:
                _apply(form, inner)
            if operation.enclosing_block is not None:  # an earlier one may have taken it along
                form(block, operation)


def _replace(block: Any, operation: Any, result: Any, obsolete: Sequence[Any] = ()) -> None:
    """Let ``result`` be read where the value of ``operation`` was, under that one's name."""
    old = operation.outputs[0]
    name, title = old.name, operation.name
    block.replace_uses_of_var_after_op(anchor_op=operation, old_var=old, new_var=result)
    block.remove_ops([operation, *obsolete])
    result.name, result.op.name = name, title


def _only_reader(value: Any, reader: Any) -> bool:
    here = value.op.enclosing_block is reader.enclosing_block  # and not in a branch of it
    return here and [*value.child_ops] == [reader] and not value.consuming_blocks


def _scalar(value: Any) -> float | None:
    """Return the number that a constant holds, or None."""
    held = None if value is None else value.val
    return float(np.reshape(held, -1)[0]) if held is not None and np.size(held) == 1 else None


class _Building:
    """Builds operations right before another, named after its value."""

    def __init__(self, operation: Any) -> None:
        self._operation, self._count = operation, 0
        self.number = nptype_from_builtin(operation.outputs[0].dtype)

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        def build(**arguments: Any) -> Any:
            self._count += 1
            name = f"{self._operation.outputs[0].name}_{kind}_{self._count}"
            return getattr(mb, kind)(**arguments, name=name, before_op=self._operation)

        return build


def _gelu(block: Any, operation: Any, terms: Sequence[float]) -> None:
    if operation.op_type != "gelu" or operation.mode.val != "EXACT":
        return
    build, x = _Building(operation), operation.x
    width = build.abs(x=x)
    *rest, second, first = (build.number(term) for term in terms)
    power = build.linear_activation(x=width, alpha=first, beta=second)
    for term in reversed(rest):
        power = build.add(x=build.mul(x=power, y=width), y=term)
    power = build.exp(x=build.mul(x=power, y=width))
    tail = build.mul(x=build.mul(x=width, y=build.number(0.5)), y=power)
    _replace(block, operation, build.sub(x=build.relu(x=x), y=tail))


def gelu_over_exp(block: Any, operation: Any) -> None:
    """GELU(x) = max(x, 0) - |x| / 2 exp(Q(|x|)), Q of five terms."""
    _gelu(block, operation, LONG)


def gelu_over_exp_short(block: Any, operation: Any) -> None:
    """GELU(x) = max(x, 0) - |x| / 2 exp(Q(|x|)), Q of three terms."""
    _gelu(block, operation, SHORT)


def sigmoid_over_exp(block: Any, operation: Any) -> None:
    """Sigmoid(b) = 1 / (1 + exp(-b)), and what it is multiplied with is divided instead."""
    if operation.op_type != "sigmoid":
        return
    gate = operation.outputs[0]
    readers = [*gate.child_ops]
    product = readers[0] if len(readers) == 1 and readers[0].op_type == "mul" else None
    if product is not None and (product.x is product.y or not _only_reader(gate, product)):
        product = None
    place = product or operation
    build = _Building(place)
    power = build.exp(x=build.mul(x=operation.x, y=build.number(-1)))
    divisor = build.add(x=power, y=build.number(1))
    if product is None:
        _replace(block, place, build.real_div(x=build.number(1), y=divisor))
    else:
        other = product.y if product.x is gate else product.x
        _replace(block, place, build.real_div(x=other, y=divisor), [operation])


def group_norm_in_one(block: Any, operation: Any) -> None:
    """The quotient of a difference from the mean by sqrt(mean square + epsilon): ``layer_norm``.

    Where a reshape splits channels into one group before it, and another takes that back, neither
    is left.
    """
    found = _norm(operation)
    if found is None:
        return
    x, axes, epsilon, obsolete = found
    build, place = _Building(operation), operation
    before, after = x.op, [*operation.outputs[0].child_ops]
    if (
        before is not None
        and before.op_type == "reshape"
        and len(after) == 1
        and after[0].op_type == "reshape"
        and _only_reader(operation.outputs[0], after[0])
        and tuple(before.x.shape) == tuple(after[0].outputs[0].shape)
        and tuple(x.shape) == (before.x.shape[0], 1, *before.x.shape[1:])
        and axes == tuple(range(2, x.rank))
    ):
        place, x, axes = after[0], before.x, tuple(axis - 1 for axis in axes)
        build = _Building(place)
        obsolete = [operation, *obsolete, before]
    norm = build.layer_norm(x=x, axes=list(axes), epsilon=build.number(epsilon))
    _replace(block, place, norm, _unread(obsolete, place))


def _norm(operation: Any) -> tuple[Any, tuple[int, ...], float, list[Any]] | None:
    """Return x, axes, epsilon and the operations of a norm that is written out, or None."""
    if operation.op_type != "real_div":
        return None
    difference, root = operation.x.op, operation.y.op
    if difference is None or root is None or (difference.op_type, root.op_type) != ("sub", "sqrt"):
        return None
    sum_, mean = root.x.op, difference.y.op
    if sum_ is None or mean is None or (sum_.op_type, mean.op_type) != ("add", "reduce_mean"):
        return None
    epsilon, variance = _scalar(sum_.y), sum_.x.op
    if epsilon is None or variance is None or variance.op_type != "reduce_mean":
        return None
    square = variance.x.op
    if square is None or square.op_type != "square" or square.x is not difference.outputs[0]:
        return None
    x = difference.x
    if mean.x is not x or not (mean.keep_dims.val and variance.keep_dims.val):
        return None
    axes = _axes(mean)
    if axes != _axes(variance):
        return None
    return x, axes, epsilon, [root, sum_, variance, square, difference, mean]


def _axes(reduction: Any) -> tuple[int, ...]:
    """Return the axes of a reduction, from 0 on; all where it names none."""
    rank, named = reduction.x.rank, reduction.axes
    return tuple(range(rank) if named is None else sorted(int(axis) % rank for axis in named.val))


def _unread(operations: Sequence[Any], place: Any) -> list[Any]:
    """Return those of ``operations``, readers first, that nothing reads but they and ``place``."""
    gone: list[Any] = [place]
    for operation in operations:
        value = operation.outputs[0]
        here = operation.enclosing_block is place.enclosing_block and not value.consuming_blocks
        if here and all(reader in gone for reader in value.child_ops):
            gone.append(operation)
    return gone[1:]


def attention_in_steps(block: Any, operation: Any) -> None:
    """Attention = (exp(s - max s) V) / sum exp(s - max s), s = (Q / sqrt(d)) K^T."""
    if operation.op_type != "scaled_dot_product_attention" or operation.attn_mask is not None:
        return
    build = _Building(operation)
    scale = build.number(operation.query.shape[-1] ** -0.5)
    found = (operation.query, operation.key, operation.value)
    heads = [_without_batch(value, operation) for value in found]
    query, key, value = found if None in heads else heads
    scores = build.matmul(x=build.mul(x=query, y=scale), y=key, transpose_y=True)
    largest = build.reduce_max(x=scores, axes=[-1], keep_dims=True)
    power = build.exp(x=build.sub(x=scores, y=largest))
    total = build.reduce_sum(x=power, axes=[-1], keep_dims=True)
    result = build.real_div(x=build.matmul(x=power, y=value), y=total)
    if None not in heads:
        result = build.reshape(x=result, shape=operation.outputs[0].shape)
    _replace(block, operation, result, [] if None in heads else [v.op for v in found])


def _without_batch(value: Any, reader: Any) -> Any:
    """Return what was reshaped from [H, L, D] to [1, H, L, D] for ``reader`` alone, or None."""
    made = value.op
    if made is None or made.op_type != "reshape" or not _only_reader(value, reader):
        return None
    return made.x if tuple(value.shape) == (1, *made.x.shape) else None


def standard_in_range(block: Any, operation: Any) -> None:
    """(x - m) / (s + e) = (x / c - m / c) / (s / c + e / c), c the octave of the largest |x|."""
    found = _standard(operation)
    if found is None:
        return
    x, axes, epsilon, bessel, (shifted, deviation, *variance, difference, mean) = found
    build = _Building(mean)
    largest = build.reduce_max(x=build.abs(x=x), axes=axes, keep_dims=True)
    # A silent signal has no octave; that of the smallest normal number of FP16 is as good.
    octave = build.log(x=largest, epsilon=build.number(2.0**-14))
    octave = build.mul(x=octave, y=build.number(1 / np.log(2)))
    range_ = build.exp2(x=build.floor(x=octave))  # a power of two: scaling by it rounds nothing
    inverse = build.real_div(x=build.number(1), y=range_)
    scaled = build.mul(x=x, y=inverse)
    middle = build.reduce_mean(x=scaled, axes=axes, keep_dims=True)
    centred = build.sub(x=scaled, y=middle)
    power = build.reduce_mean(x=build.square(x=centred), axes=axes, keep_dims=True)
    if bessel is not None:
        power = build.mul(x=power, y=build.number(bessel))
    spread = build.sqrt(x=power)
    offset = build.mul(x=inverse, y=build.number(epsilon))
    standard = build.real_div(x=centred, y=build.add(x=spread, y=offset))
    wide, level = build.mul(x=spread, y=range_), build.mul(x=middle, y=range_)
    _replace(block, operation, standard, [shifted])
    _replace(block, deviation, wide, [*variance, difference])
    _replace(block, mean, level)


def _standard(
    operation: Any,
) -> tuple[Any, list[int], float, float | None, list[Any]] | None:
    """Return x, axes, epsilon, Bessel's correction and the rest of a standardisation, or None."""
    shifted = operation.y.op if operation.op_type == "real_div" else None
    if shifted is None or shifted.op_type != "add":
        return None
    epsilon, bessel, chain = _scalar(shifted.y), None, [shifted]
    for kind in ("sqrt", "reduce_mean", "square", "sub"):
        found = chain[-1].x.op
        if kind == "reduce_mean" and found is not None and found.op_type == "mul":
            bessel = _scalar(found.y)
            chain.append(found)
            found = found.x.op if bessel is not None else None
        if found is None or found.op_type != kind:
            return None
        chain.append(found)
    variance, difference = chain[-3], chain[-1]
    mean = difference.y.op
    if epsilon is None or mean is None or mean.op_type != "reduce_mean":
        return None
    x, axes = difference.x, _axes(mean)
    alike = mean.x is x and operation.x is difference.outputs[0]
    kept = mean.keep_dims.val and variance.keep_dims.val and _axes(variance) == axes
    here = all(op.enclosing_block is operation.enclosing_block for op in (*chain, mean))
    alone = here and all(  # the deviation and the mean may have other readers
        set(op.outputs[0].child_ops) <= {operation, *chain} and not op.outputs[0].consuming_blocks
        for op in chain
        if op.op_type != "sqrt"
    )
    return (x, list(axes), epsilon, bessel, [*chain, mean]) if alike and kept and alone else None


def weights_with_gain(block: Any, operation: Any) -> None:
    """Products with constant weights, each output's weights times 1 + `GAIN` in FP16."""
    kind = operation.op_type
    if kind not in ("conv", "conv_transpose", "linear") or operation.weight.val is None:
        return
    axis = 1 if kind == "conv_transpose" else 0  # of outputs
    rows = np.moveaxis(operation.weight.val, axis, 0)
    gained = _gained(rows.reshape(len(rows), -1).astype(np.float64)).reshape(rows.shape)
    weight = np.ascontiguousarray(np.moveaxis(gained, 0, axis), operation.weight.val.dtype)
    arguments = {name: value for name, value in operation.inputs.items() if value is not None}
    _replace(
        block, operation, getattr(_Building(operation), kind)(**arguments | {"weight": weight})
    )


def _gained(rows: Any) -> Any:
    """Return FP16 numbers that, seen from ``rows`` [outputs, terms], are each row times 1 + `GAIN`.

    Each is rounded to nearest. Numbers that FP16 holds already would hardly change by that, so then
    those nearest to a middle are rounded the other way, until the row as a whole has its gain.
    """
    asked = rows * (1 + GAIN)
    near = asked.astype(np.float16)
    away = np.where(asked > near, np.inf, -np.inf).astype(np.float16)
    other = np.nextafter(near, away).astype(np.float64)
    near = near.astype(np.float64)
    missing = (rows * (asked - near)).sum(1, keepdims=True)
    step = rows * (other - near)
    useful = (step * missing > 0) & (near != asked)
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = ((other - asked) ** 2 - (near - asked) ** 2) / np.abs(step)
    order = np.argsort(np.where(useful, cost, np.inf), axis=1, kind="stable")
    reached = np.take_along_axis(np.where(useful, step, 0), order, 1).cumsum(1)
    left = np.abs(missing - np.pad(reached, ((0, 0), (1, 0))))
    turned = np.argsort(order, axis=1) < left.argmin(1)[:, None]
    return np.where(turned & useful, other, near)


PASSES: dict[str, Callable[[Any, Any], None]] = {
    form.__name__: form
    for form in (
        gelu_over_exp,
        gelu_over_exp_short,
        sigmoid_over_exp,
        group_norm_in_one,
        attention_in_steps,
        standard_in_range,
        weights_with_gain,
    )
}
