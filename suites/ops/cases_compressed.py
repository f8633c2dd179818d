"""Cases of quantisation, and of the operations that expand compressed constants."""

from __future__ import annotations

import numpy as np

from harness._coremltools import import_coremltools
from suites.ops.cases import Case, integers, normal, positive

import_coremltools()
from coremltools.converters.mil.mil import types  # noqa: E402  (quiet only after the line above)

NARROW = {
    1: types.np_uint1_dtype,
    2: types.np_uint2_dtype,
    4: types.np_uint4_dtype,
    -4: types.np_int4_dtype,
}


def narrow(array, bits):
    """Mark an array as one of integers of so many bits (negative: signed)."""
    return array.astype(NARROW[bits])


def per_channel(vector, x, axis):
    return np.reshape(vector, [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


def quantize(input, scale, output_dtype, zero_point=0, axis=0):
    low, high = (0, 255) if output_dtype == "uint8" else (-128, 127)
    scale, zero = (
        per_channel(v, input, axis) if np.ndim(v) else v
        for v in (scale, np.asarray(zero_point, int))
    )
    return np.clip(np.round(input / scale) + zero, low, high)


def dequantize(scale, zero_point=0, axis=0, **data):
    (x,) = (np.asarray(array, float) for array in data.values())
    scale, zero = (
        per_channel(v, x, axis) if np.ndim(v) else v for v in (scale, np.asarray(zero_point, float))
    )
    return scale * (x - zero)


def bytes_of(*shape, seed=0):
    return integers(0, 256, *shape, seed=seed).astype(np.uint8)


AFFINE = [
    Case(
        "quantize",
        "quantize",
        quantize,
        {"input": normal(3, 4, scale=20.0)},
        params={"scale": 0.25, "output_dtype": "int8"},
    ),
    Case(
        "quantize_channels",
        "quantize",
        quantize,
        {"input": normal(2, 3, 4, scale=20.0)},
        {"scale": positive(3), "zero_point": bytes_of(3)},
        {"axis": -2, "output_dtype": "uint8"},
    ),
    Case(
        "dequantize",
        "dequantize",
        dequantize,
        constants={"input": integers(-128, 128, 3, 4).astype(np.int8)},
        params={"scale": 0.25, "zero_point": np.int8(-7)},
    ),
    Case(
        "dequantize_channels",
        "dequantize",
        dequantize,
        constants={"input": bytes_of(2, 3, 4), "scale": positive(3), "zero_point": bytes_of(3)},
        params={"axis": 1},
    ),
    Case(
        "constexpr_affine_dequantize",
        "constexpr_affine_dequantize",
        dequantize,
        constants={"quantized_data": bytes_of(4, 3), "scale": positive(3)},
        params={"zero_point": np.uint8(200), "axis": -1},
        opset="iOS16",
    ),
]


def blocks(small, shape):
    """Each element of ``small`` by its place: index divided by block size."""
    index = np.indices(shape)
    sizes = [n // m for n, m in zip(shape, small.shape, strict=True)]
    return small[tuple(i // s for i, s in zip(index, sizes, strict=True))]


def shift_scale(data, scale, offset=None):
    shift = 0 if offset is None else blocks(np.asarray(offset, float), data.shape)
    return blocks(scale, data.shape) * (np.asarray(data, float) - shift)


def pack(values, bits):
    """Integers as bytes, from the lowest bit on, through a string of binary digits."""
    text = "".join(format(int(value), f"0{bits}b")[::-1] for value in np.ravel(values))
    text += "0" * (-len(text) % 8)
    return np.array([int(text[i : i + 8][::-1], 2) for i in range(0, len(text), 8)], np.uint8)


def look_up(indices, lut, vector_axis=0):
    vector = lut.shape[-1]
    shape = list(indices.shape)
    shape[vector_axis] *= vector
    y = np.empty(shape)
    for place in np.ndindex(*shape):
        source = list(place)
        source[vector_axis] //= vector
        table = tuple(
            s * m // n for s, m, n in zip(source, lut.shape[:-2], indices.shape, strict=True)
        )
        entry = int(indices[tuple(source)])
        y[place] = lut[(*table, entry, place[vector_axis] % vector)]
    return y


def spread(nonzero_data, mask):
    y = np.zeros(np.shape(mask))
    y[np.asarray(mask) != 0] = nonzero_data
    return y


def look_up_sparse(indices_mask, indices_nonzero_data, lut, vector_axis=0):
    indices = spread(indices_nonzero_data, indices_mask)
    mask = np.repeat(indices_mask, lut.shape[-1], vector_axis)
    return mask, look_up(indices, lut, vector_axis)[mask != 0]


MASK = integers(0, 2, 4, 6)
SET = int(MASK.sum())
INDICES = integers(0, 4, 5, 3)

STORED = [
    Case(
        "constexpr_blockwise_shift_scale",
        "constexpr_blockwise_shift_scale",
        shift_scale,
        constants={
            "data": narrow(integers(-8, 8, 4, 6), -4),
            "scale": positive(2, 3),
            "offset": narrow(integers(-8, 8, 2, 3), -4),
        },
    ),
    Case(
        "constexpr_cast",
        "constexpr_cast",
        lambda source_val, output_dtype: source_val,
        constants={"source_val": normal(3, 4)},
        params={"output_dtype": "fp32"},
        dtypes=("fp16",),
        exact=True,
    ),
    Case(
        "constexpr_lut_to_dense_iOS16",
        "constexpr_lut_to_dense",
        lambda indices, lut, shape: lut[INDICES],
        constants={"indices": pack(INDICES, 2), "lut": normal(4)},
        params={"shape": np.array([5, 3], np.uint32)},
        exact=True,
        opset="iOS16",
    ),
    Case(
        "constexpr_lut_to_dense_groups",
        "constexpr_lut_to_dense",
        look_up,
        constants={"indices": narrow(integers(0, 4, 6, 2), 2), "lut": normal(2, 1, 4, 1)},
        exact=True,
    ),
    Case(
        "constexpr_lut_to_dense_vectors",
        "constexpr_lut_to_dense",
        look_up,
        constants={"indices": narrow(integers(0, 2, 2, 4, 2), 1), "lut": normal(1, 2, 1, 2, 3)},
        params={"vector_axis": 1},
        exact=True,
    ),
    Case(
        "constexpr_sparse_to_dense_iOS16",
        "constexpr_sparse_to_dense",
        lambda nonzero_data, mask, shape: spread(nonzero_data, MASK),
        constants={"nonzero_data": normal(SET), "mask": pack(MASK, 1)},
        params={"shape": np.array([4, 6], np.uint32)},
        exact=True,
        opset="iOS16",
    ),
    Case(
        "constexpr_sparse_to_dense",
        "constexpr_sparse_to_dense",
        spread,
        constants={"nonzero_data": normal(SET), "mask": narrow(MASK, 1)},
        exact=True,
    ),
    Case(
        "constexpr_lut_to_sparse",
        "constexpr_lut_to_sparse",
        look_up_sparse,
        constants={
            "indices_mask": narrow(MASK, 1),
            "indices_nonzero_data": narrow(integers(0, 2, SET), 1),
            "lut": normal(1, 1, 2, 3),
        },
        params={"vector_axis": 0},
        exact=True,
    ),
    Case(
        "constexpr_sparse_blockwise_shift_scale",
        "constexpr_sparse_blockwise_shift_scale",
        lambda data_mask, nonzero_data, scale, offset: (
            data_mask,
            shift_scale(spread(nonzero_data, data_mask), scale, offset)[data_mask != 0],
        ),
        constants={
            "data_mask": narrow(MASK, 1),
            "nonzero_data": narrow(integers(0, 16, SET), 4),
            "scale": positive(2, 3),
            "offset": narrow(integers(0, 16, 2, 3), 4),
        },
    ),
]

CASES = [*AFFINE, *STORED]
