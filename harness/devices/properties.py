"""The questions that a profile answers: how a unit computes, one property each.

A property is either a number or one of a few named ways, and each way is implemented in this room.
A profile settles every property that applies to it, as a fact or as an unknown with variants, so
that nothing is left to a default that nobody chose.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import nan
from types import MappingProxyType
from typing import Final, TypeAlias

Setting: TypeAlias = str | float
"""A named way, or a number."""


@dataclass(frozen=True)
class Property:
    """One question about a unit.

    Attributes:
        meaning: what is asked, as a phrase.
        choices: the named ways; none if the answer is a number.
        only_if: other properties, and the value of any of them for which this one applies.
        positive: whether a number has to be above 0.
    """

    meaning: str
    choices: tuple[str, ...] = ()
    only_if: tuple[tuple[str, ...], str] | None = None
    positive: bool = False

    def applies(self, values: Callable[[str], Collection[Setting]]) -> bool:
        """Return whether the question is one, by what each other property may be."""
        if self.only_if is None:
            return True
        owners, value = self.only_if
        return any(value in values(owner) for owner in owners)

    def problem(self, value: object) -> str | None:
        """Return what is wrong with ``value`` as an answer, or ``None``."""
        if self.choices:
            if value in self.choices:
                return None
            return f"expected one of {', '.join(self.choices)}, found {value!r}"
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else nan
        if number > 0 if self.positive else number == number:
            return None
        return f"expected a number{' above 0' if self.positive else ''}, found {value!r}"


_SUMS: Final = ("accumulator", "convolution_accumulator")
_ACCUMULATORS: Final = ("tiles_of_four", "wide", "tensor_unit", "sequential_fp16")

PROPERTIES: Final[Mapping[str, Property]] = MappingProxyType(
    {
        "accumulator": Property("how the products of a matrix product are summed", _ACCUMULATORS),
        "convolution_accumulator": Property(
            "how the products of a convolution are summed", _ACCUMULATORS
        ),
        "tile_alignment": Property(
            "what becomes of the bits outside the window of 12 inside a tile",
            ("truncated", "nearest"),
            only_if=(_SUMS, "tiles_of_four"),
        ),
        "product_rounding": Property(
            "whether a product is rounded to FP16 before it is added",
            ("fused", "rounded"),
            only_if=(_SUMS, "sequential_fp16"),
        ),
        "product_ceiling": Property(
            "the magnitude from which on sums of products become infinite", positive=True
        ),
        "bias": Property("how a bias is added to a sum of products", ("fp16", "wide")),
        "product_subnormals": Property(
            "whether a subnormal operand of a product counts as zero", ("kept", "flushed")
        ),
        "elementwise_subnormals": Property(
            "whether a subnormal counts as zero elementwise", ("kept", "flushed")
        ),
        "specials": Property("what IEEE makes NaN", ("ieee", "never_nan")),
        "log_of_zero": Property("the logarithm of zero"),
        "softplus_collapse": Property("the e^x from which on softplus gives 0", positive=True),
        "activations": Property("where function values come from", ("tables", "rounded_once")),
        "table_rounding": Property(
            "how the two steps of an interpolation are rounded to FP16",
            ("nearest_away", "nearest_even"),
            only_if=(("activations",), "tables"),
        ),
        "real_div": Property(
            "how a quotient is formed", ("reciprocal_then_product", "rounded_once")
        ),
        "softmax": Property("how a softmax is formed", ("stages", "rounded_once")),
        "reduce_sum": Property("the accumulator of a sum", ("wide", "narrow")),
        "reduce_mean": Property(
            "how a sum becomes a mean", ("product_with_reciprocal", "division")
        ),
        "normalisation": Property(
            "how norms are formed", ("rounded_once", "affine_rounded", "stages")
        ),
        "convolution": Property(
            "how a dense 3x3 convolution of stride 1 is formed",
            ("direct", "winograd_2", "winograd_4"),
        ),
        "transposed_convolution": Property(
            "how the products of a transposed convolution are summed",
            ("as_convolution", "sequential_fp16_fused"),
        ),
        "slice_gain": Property(
            "the factor inside a slice along the width with an offset", positive=True
        ),
        "round": Property("where halves go in the operation round", ("half_even", "half_away")),
        "fp32": Property("what becomes of FP32 operations", ("never_here", "computed")),
        "fp32_operands": Property(
            "what FP32 matrix products do with their operands",
            ("kept", "low_13_bits_dropped"),
            only_if=(("fp32",), "computed"),
        ),
        "placement": Property(
            "whether an operation that the unit can run is run there", ("unit", "cpu")
        ),
    }
)
