"""Operators for what has weights: convolutions, matrix products, normalisation, attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.faults.operators.arithmetic import scalar_times, swapped
from harness.faults.operators.site import Edit, MutationSite, operator
from harness.mil.editing import constant, with_inputs, with_swapped

WEIGHTED = ("conv", "conv_transpose", "linear")
NORMALISING = ("layer_norm", "batch_norm", "instance_norm")


@operator("one exponent bit of one weight flipped", *WEIGHTED)
def bit(site: MutationSite) -> Edit | None:
    """The lowest exponent bit: that weight doubles or halves."""
    return site.changed("weight", lambda weight: flip_exponent(weight, site.draw(weight.size)))


@operator("two rows of the weight exchanged", *WEIGHTED)
def rows(site: MutationSite) -> Edit | None:
    """Neighbouring output channels; of a transposed convolution, input channels."""
    weight = site.constant("weight")
    if weight is None or len(weight) < 2:
        return None
    return site.changed("weight", swapped(site, rows=True))


@operator("one element of the bias dropped", *WEIGHTED)
def bias(site: MutationSite) -> Edit | None:
    """Set it to zero."""
    return site.changed("bias", zeroed(site))


@operator("padding shifted by one", "conv")
def shifted(site: MutationSite) -> Edit | None:
    """One more before and one less after, in the last dimension that is padded."""
    pads = site.constant("pad")
    if pads is None:
        return None
    amounts = pads.reshape(-1).tolist()
    for after in range(len(amounts) - 1, 0, -2):
        if amounts[after] > 0:
            amounts[after - 1] += 1
            amounts[after] -= 1
            return [with_inputs(site.operation, pad=amounts)]
    return None


@operator("crop shifted by one", "conv_transpose")
def cropped(site: MutationSite) -> Edit | None:
    """The result read one frame later, along the first spatial dimension."""
    shape = site.constant("output_shape")
    pads = site.constant("pad")
    if shape is None:
        return None
    rank = shape.size - 2
    amounts = [0] * (2 * rank) if pads is None else pads.reshape(-1).tolist()
    amounts[0] += 1
    return [with_inputs(site.operation, pad=amounts, pad_type=constant("custom"))]


@operator("epsilon x 1000", *NORMALISING)
def epsilon(site: MutationSite) -> Edit | None:
    """1e-2 instead of 1e-5."""
    return scalar_times(site, "epsilon", 1000)


@operator("two elements of the gain exchanged", *NORMALISING)
def gamma(site: MutationSite) -> Edit | None:
    """Neighbours."""
    return site.changed("gamma", swapped(site), least=2)


@operator("one element of the offset dropped", *NORMALISING)
def beta(site: MutationSite) -> Edit | None:
    """Set it to zero."""
    return site.changed("beta", zeroed(site))


@operator("tanh approximation", "gelu")
def tanh(site: MutationSite) -> Edit | None:
    """What another framework calls GELU."""
    return [with_inputs(site.operation, mode=constant("TANH_APPROXIMATION"))]


@operator("query and key exchanged", "scaled_dot_product_attention")
def query_and_key(site: MutationSite) -> Edit | None:
    """Fits together only where both sides have one length."""
    return [with_swapped(site.operation, "query", "key")]


@operator("key and value exchanged", "scaled_dot_product_attention")
def key_and_value(site: MutationSite) -> Edit | None:
    """They have one shape, so nothing complains."""
    return [with_swapped(site.operation, "key", "value")]


@operator("heads of the value in reverse order", "scaled_dot_product_attention")
def heads(site: MutationSite) -> Edit | None:
    """Permuted attention heads."""
    shape = site.shape_of("value")
    if len(shape) < 4 or shape[-3] < 2:
        return None
    return site.before("value", "reverse", shape, axes=[len(shape) - 3])


def flip_exponent(array: np.ndarray, place: int) -> np.ndarray:
    """Flip the lowest exponent bit of an array's element ``place``, counted flat."""
    bits = np.uint16 if array.dtype == np.float16 else np.uint32
    lowest = np.finfo(array.dtype).nmant
    array.reshape(-1).view(bits)[place] ^= bits(1 << lowest)
    return array


def zeroed(site: MutationSite) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that sets one element, drawn for the operation, to zero."""

    def change(array: np.ndarray) -> np.ndarray:
        array.reshape(-1)[site.draw(array.size)] = 0
        return array

    return change
