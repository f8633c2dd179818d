"""For each rule a program that it finds, and a near one that it must leave alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from suites.selftest.lint.building import (
    F16,
    F32,
    I32,
    Made,
    both,
    listing_shapes,
    main_of,
    operation_of,
    ranging,
)

X = {"x": ((2, 3), F32)}
HALF = {"x": ((2, 3), F16)}
TWO = {"x": ((2, 3), F32), "y": ((2, 3), F32)}
INTEGERS = {"i": ((2, 3), I32)}
INF = F32(np.inf)


def times(constant: Any) -> Any:
    return lambda mb, x: mb.mul(x=x, y=constant)


def plus(constant: Any) -> Any:
    return lambda mb, x: mb.add(x=x, y=constant)


def relu(mb: Any, x: Any) -> Any:
    return mb.relu(x=x)


def joined(mb: Any, x: Any, y: Any) -> Any:
    return mb.add(x=x, y=y)


def normed(epsilon: Any) -> Any:
    return lambda mb, x: mb.layer_norm(x=x, axes=[-1], epsilon=epsilon)


def retyped(name: str, code: int) -> Any:
    """Give an input of the function another element type, as MIL.proto numbers them."""

    def edit(message: Any) -> None:
        for variable in main_of(message).inputs:
            if variable.name == name:
                type_ = variable.type
                state = type_.WhichOneof("type") == "stateType"
                tensor = type_.stateType.wrappedType.tensorType if state else type_.tensorType
                tensor.dataType = code

    return edit


def reshaped(name: str, rank: int, sizes: tuple[int | None, ...]) -> Any:
    """Give an input of the function another shape; None is a flexible dimension."""

    def edit(message: Any) -> None:
        for variable in main_of(message).inputs:
            if variable.name == name:
                type_ = variable.type
                state = type_.WhichOneof("type") == "stateType"
                tensor = type_.stateType.wrappedType.tensorType if state else type_.tensorType
                tensor.rank = rank
                del tensor.dimensions[:]
                for size in sizes:
                    dimension = tensor.dimensions.add()
                    if size is None:
                        dimension.unknown.variadic = rank == -1
                    else:
                        dimension.constant.size = size

    return edit


def renamed_type(message: Any) -> None:
    operation_of(message, "relu").type = "frobnicate"


def computed_permutation(message: Any) -> None:
    operation_of(message, "transpose").inputs["perm"].arguments[0].name = "i"


def without_y(message: Any) -> None:
    del operation_of(message, "add").inputs["y"]


def older_specification(message: Any) -> None:
    message.specificationVersion = 8


def second_function(message: Any) -> None:
    message.mlProgram.functions["other"].CopyFrom(main_of(message))


def written(mb: Any, x: Any, s: Any) -> Any:
    value = mb.add(x=mb.read_state(input=s), y=x)
    mb.coreml_update_state(state=s, value=value)
    return value


def written_and_computed(mb: Any, x: Any, s: Any) -> Any:
    return mb.mul(x=written(mb, x, s), y=F16(2))


def state(width: int) -> dict[str, Any]:
    return {"x": ((2, width), F16), "s": ((2, width), "state")}


def attention(mb: Any, q: Any) -> Any:
    logits = mb.matmul(x=q, y=q, transpose_y=True)
    weights = mb.softmax(x=mb.add(x=logits, y=np.ones((3, 3), F32)), axis=-1)
    return mb.matmul(x=weights, y=q)


def deconvolved(kernel: int = 3, **options: Any) -> Any:
    weight = np.ones((2, 2, kernel), F16)
    return lambda mb, x: mb.conv_transpose(x=x, weight=weight, **options)


def gathered(narrow: str, size: int) -> Any:
    def body(mb: Any, i: Any) -> Any:
        table = np.zeros(size, F32)
        return mb.gather(x=table, indices=mb.cast(x=i, dtype=narrow), axis=0)

    return body


def small_integers(value: int) -> Any:
    def body(mb: Any, i: Any) -> Any:
        constant = mb.cast(x=np.array([value], I32), dtype="int16")
        return mb.add(x=i, y=mb.cast(x=constant, dtype="int32"))

    return body


def exponentials(mb: Any, x: Any, *, shifted: bool) -> Any:
    shift = mb.reduce_max(x=x, axes=[-1], keep_dims=True)
    e = mb.exp(x=mb.sub(x=x, y=shift) if shifted else x)
    return mb.log(x=mb.reduce_sum(x=e, axes=[-1])), mb.identity(x=shift)


def random_integers(mb: Any, x: Any) -> Any:
    noise = mb.random_uniform(shape=[2, 3], low=F32(0), high=F32(9))
    return mb.cast(x=noise, dtype="int32"), mb.relu(x=x)


def random_floats(mb: Any, x: Any) -> Any:
    return mb.add(x=mb.random_uniform(shape=[2, 3], low=F32(0), high=F32(9)), y=x)


def masked(value: float) -> Any:
    def body(mb: Any, x: Any) -> Any:
        return mb.softmax(x=mb.cast(x=mb.add(x=x, y=F32(value)), dtype="fp16"), axis=-1)

    return body


def added_before_log(constant: Any) -> Any:
    return lambda mb, x: mb.log(x=mb.add(x=x, y=constant))


def padded(amounts: list[int]) -> Any:
    return lambda mb, x: mb.pad(x=x, pad=amounts, mode="reflect")


def updated(mb: Any, x: Any, u: Any) -> Any:
    return mb.slice_update(x=x, update=u, begin=[0], end=[1])


def batch_normed(mb: Any, x: Any) -> Any:
    return mb.batch_norm(x=x, mean=np.zeros(2, F32), variance=np.ones(2, F32))


def weighed(peak: float) -> Any:
    return lambda mb, x: mb.linear(x=x, weight=np.full((4, 3), peak, F32))


_CUBE = {"x": ((1, 2, 3, 4, 5), F32)}
_SOUND = {"x": ((1, 2, 4), F16)}
_RISING = np.array([[1.0, 2.0, 3.0]])

EXAMPLES: dict[str, tuple[Made, Made]] = {
    "constant_nan": (
        Made(times(np.array([1, np.nan, 1], F32)), X),
        Made(times(np.array([1, 2, 1], F32)), X),
    ),
    "constant_infinite": (
        Made(times(np.array([1, np.inf, 1], F16)), HALF),
        Made(lambda mb, x: mb.maximum(x=x, y=F16(-np.inf)), HALF),
    ),
    "division_by_zero": (
        Made(lambda mb, x: mb.real_div(x=x, y=np.array([1, 0, 1], F32)), X),
        Made(lambda mb, x: mb.real_div(x=x, y=np.array([1, 1e-30, 1], F32)), X),
    ),
    "epsilon_vanishes": (
        Made(normed(F32(1e-12)), HALF, builder="iOS17"),
        Made(normed(F32(1e-12)), X),
    ),
    "epsilon_subnormal": (Made(normed(F16(1e-5)), HALF), Made(normed(F16(1e-4)), HALF)),
    "constant_overflows_cast": (
        Made(small_integers(32768), INTEGERS),
        Made(small_integers(32767), INTEGERS),
    ),
    "index_overflows_cast": (
        Made(gathered("int16", 40_000), INTEGERS),
        Made(gathered("uint16", 40_000), INTEGERS),
    ),
    "interface_of_other_type": (
        Made(relu, HALF, builder="iOS15", saved="iOS15"),
        Made(relu, HALF, builder="iOS16", saved="iOS16"),
    ),
    "enumerated_beside_range": (
        Made(joined, TWO, edit=both(listing_shapes(2), ranging(1, 1, 5))),
        Made(joined, TWO, edit=both(listing_shapes(2), ranging(1, 2, 2))),
    ),
    "several_enumerated_before_ios18": (
        Made(joined, TWO, saved="iOS17", edit=listing_shapes(2, 2)),
        Made(joined, TWO, saved="iOS18", edit=listing_shapes(2, 2)),
    ),
    "enumerated_of_unequal_length": (
        Made(joined, TWO, edit=listing_shapes(2, 3)),
        Made(joined, TWO, edit=listing_shapes(3, 3)),
    ),
    "several_enumerated": (
        Made(joined, TWO, edit=listing_shapes(2, 2)),
        Made(joined, TWO, edit=listing_shapes(2, 1)),
    ),
    "too_many_enumerated": (
        Made(relu, X, edit=listing_shapes(129)),
        Made(relu, X, edit=listing_shapes(128)),
    ),
    "range_without_end": (
        Made(relu, X, edit=ranging(0, 1, -1)),
        Made(relu, X, edit=ranging(0, 1, 100)),
    ),
    "range_from_zero": (
        Made(
            lambda mb, x: mb.slice_by_size(x=x, begin=[0, 0], size=[1, 1]),
            X,
            edit=ranging(0, 0, 9),
        ),
        Made(
            lambda mb, x: mb.slice_by_size(x=x, begin=[0, 0], size=[1, 1]),
            X,
            edit=ranging(0, 1, 9),
        ),
    ),
    "no_inputs_before_ios18": (
        Made(lambda mb: mb.random_normal(shape=[2]), saved="iOS17"),
        Made(lambda mb: mb.random_normal(shape=[2]), saved="iOS18"),
    ),
    "input_of_unknown_rank": (
        Made(relu, X, edit=reshaped("x", -1, (None,))),
        Made(relu, X, edit=reshaped("x", 2, (None, 3))),
    ),
    "pad_of_other_axes": (
        Made(padded([1] * 6), _CUBE),
        Made(padded([0, 0, 1, 1, 1, 1]), _CUBE),
    ),
    "linear_of_integers": (
        Made(lambda mb, i: mb.linear(x=i, weight=np.ones((4, 3), I32)), INTEGERS),
        Made(lambda mb, i: mb.matmul(x=i, y=np.ones((3, 4), I32)), INTEGERS),
    ),
    "rank_above_five": (
        Made(lambda mb, x: mb.expand_dims(x=x, axes=[0]), _CUBE),
        Made(relu, _CUBE),
    ),
    "empty_tensor": (
        Made(relu, X, edit=reshaped("x", 2, (0, 3))),
        Made(relu, X, edit=reshaped("x", 2, (1, 3))),
    ),
    "pool_same_lower": (
        Made(
            lambda mb, x: mb.max_pool(x=x, kernel_sizes=[2], pad_type="same_lower"),
            {"x": ((1, 2, 8), F32)},
        ),
        Made(
            lambda mb, x: mb.max_pool(x=x, kernel_sizes=[2, 2], pad_type="same_lower"),
            {"x": ((1, 2, 8, 8), F32)},
        ),
    ),
    "slice_update_by_scalar": (
        Made(updated, {"x": ((4,), F32), "u": ((1,), F32)}, edit=reshaped("u", 0, ())),
        Made(updated, {"x": ((4,), F32), "u": ((1,), F32)}),
    ),
    "norm_of_volumes": (
        Made(batch_normed, _CUBE),
        Made(batch_normed, {"x": ((1, 2, 3, 4), F32)}),
    ),
    "operation_of_a_later_opset": (
        Made(
            lambda mb, x: mb.scaled_dot_product_attention(query=x, key=x, value=x),
            {"x": ((1, 2, 3, 4), F32)},
            saved="iOS17",
        ),
        Made(
            lambda mb, x: mb.scaled_dot_product_attention(query=x, key=x, value=x),
            {"x": ((1, 2, 3, 4), F32)},
        ),
    ),
    "unknown_operation": (Made(relu, X, edit=renamed_type), Made(relu, X)),
    "input_of_a_later_opset": (
        Made(
            lambda mb, i: mb.gather(
                x=_RISING.astype(F32), indices=i, axis=1, validate_indices=False
            ),
            INTEGERS,
            builder="iOS17",
            saved="iOS16",
        ),
        Made(
            lambda mb, i: mb.gather(
                x=_RISING.astype(F32), indices=i, axis=1, validate_indices=False
            ),
            INTEGERS,
            builder="iOS17",
            saved="iOS17",
        ),
    ),
    "type_of_a_later_opset": (
        Made(gathered("int16", 9), INTEGERS, builder="iOS17", saved="iOS16"),
        Made(gathered("int16", 9), INTEGERS, builder="iOS17", saved="iOS17"),
    ),
    "mixed_element_types": (
        Made(joined, {"x": ((2, 3), F16), "y": ((2, 3), F16)}, edit=retyped("y", 11)),
        Made(lambda mb, x: mb.pad(x=x, pad=[1, 1], mode="constant"), HALF),
    ),
    "input_must_be_constant": (
        Made(
            lambda mb, x, i: mb.transpose(x=x, perm=[1, 0]),
            {"x": ((2, 3), F32), "i": ((2,), I32)},
            edit=computed_permutation,
        ),
        Made(lambda mb, x, i: mb.reshape(x=x, shape=i), {"x": ((2, 3), F32), "i": ((2,), I32)}),
    ),
    "missing_input": (Made(joined, TWO, edit=without_y), Made(joined, TWO)),
    "specification_below_opset": (Made(relu, X, edit=older_specification), Made(relu, X)),
    "several_functions_before_ios18": (
        Made(relu, X, saved="iOS17", edit=second_function),
        Made(relu, X, saved="iOS18", edit=second_function),
    ),
    "state_not_fp16": (
        Made(written_and_computed, state(32), edit=retyped("s", 11)),
        Made(written_and_computed, state(32)),
    ),
    "state_of_flexible_shape": (
        Made(written_and_computed, state(32), edit=reshaped("s", 2, (None, 32))),
        Made(written_and_computed, state(32)),
    ),
    "output_written_to_state": (
        Made(written, state(32)),
        Made(written_and_computed, state(32)),
    ),
    "state_of_odd_width": (
        Made(written_and_computed, state(33)),
        Made(written_and_computed, state(64)),
    ),
    "infinite_mask": (
        Made(plus(np.array([0, -np.inf, 0], F32)), X),
        Made(lambda mb, x: mb.clip(x=x, alpha=F32(0), beta=INF), X),
    ),
    "finite_mask_becomes_infinite": (Made(masked(-3.4e38), X), Made(masked(-1e4), X)),
    "weight_beyond_fp16": (Made(weighed(7e4), X), Made(weighed(6e4), X)),
    "constant_lost_its_bits": (
        Made(times((_RISING * 1e-6).astype(F16)), HALF),
        Made(times((_RISING * 1e-4).astype(F16)), HALF),
    ),
    "softplus_in_fp16": (
        Made(lambda mb, x: mb.softplus(x=x), HALF),
        Made(lambda mb, x: mb.softplus(x=x), X),
    ),
    "log_sum_exp_in_fp16": (
        Made(lambda mb, x: mb.reduce_log_sum_exp(x=x, axes=[-1]), HALF),
        Made(lambda mb, x: mb.reduce_log_sum_exp(x=x, axes=[-1]), X),
    ),
    "log_of_summed_exponentials": (
        Made(lambda mb, x: exponentials(mb, x, shifted=False), HALF),
        Made(lambda mb, x: exponentials(mb, x, shifted=True), HALF),
    ),
    "attention_of_large_batch": (
        Made(attention, {"q": ((10, 2, 3, 4), F32)}),
        Made(attention, {"q": ((9, 2, 3, 4), F32)}),
    ),
    "uneven_transposed_convolution": (
        Made(deconvolved(strides=[2], pad_type="custom", pad=[1, 0]), _SOUND),
        Made(deconvolved(strides=[2], pad_type="custom", pad=[1, 1]), _SOUND),
    ),
    "transposed_convolution_of_another_shape": (
        Made(deconvolved(output_shape=[1, 2, 4]), _SOUND),
        Made(deconvolved(output_shape=[1, 2, 6]), _SOUND),
    ),
    "sum_of_squares_in_fp16": (
        Made(lambda mb, x: mb.reduce_sum_square(x=x, axes=[1]), {"x": ((2, 65_536), F16)}),
        Made(lambda mb, x: mb.reduce_sum_square(x=x, axes=[0]), {"x": ((2, 65_536), F16)}),
    ),
    "log_of_softmax": (
        Made(lambda mb, x: mb.log(x=mb.softmax(x=x, axis=-1)), HALF),
        Made(lambda mb, x: mb.log(x=mb.softmax(x=x, axis=-1)), X),
    ),
    "unused_operation": (
        Made(lambda mb, x: (mb.relu(x=x), mb.tanh(x=x))[0], X),
        Made(lambda mb, x: mb.split(x=x, num_splits=3, axis=1)[0], X),
    ),
    "unused_input": (
        Made(lambda mb, x, y: mb.relu(x=x), TWO),
        Made(lambda mb, x, y: (mb.relu(x=x), y), TWO),
    ),
    "output_ignores_inputs": (
        Made(lambda mb, x: (mb.relu(x=x), mb.exp(x=np.ones(3, F32))), X),
        Made(random_floats, X),
    ),
    "integers_narrowed": (
        Made(lambda mb, i: mb.cast(x=mb.cast(x=i, dtype="int16"), dtype="int32"), INTEGERS),
        Made(gathered("int16", 9), INTEGERS),
    ),
    "uniform_reaches_its_end": (Made(random_integers, X), Made(random_floats, X)),
}
"""By rule: what it finds, and what it leaves alone."""
