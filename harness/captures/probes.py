"""Probes: one operation each, with fixed inputs, whose outputs tell rules of devices apart.

A probe says which properties of a device (`harness.devices.properties`) its outputs depend on, and
nothing else may change them: that is tested. So a capture is explained probe by probe, and what
each allows is joined. Inputs and constants are FP16 (`harness.captures.signals`). Inputs are named
``PROBE_x`` (and ``PROBE_y``), outputs ``PROBE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from harness.captures.signals import Half, grid, half, noise, one_of_many, patterns, ties

_TABLE: Final = ("activations", "table_rounding")
_SUMS: Final = ("accumulator", "tile_alignment", "product_rounding")
_CONVOLUTION: Final = ("convolution_accumulator", "tile_alignment", "product_rounding")


@dataclass(frozen=True)
class Probe:
    """One operation with its inputs.

    Attributes:
        name: of its output.
        about: what it shows, as a phrase.
        operation: type in MIL.
        asks: the properties that its outputs depend on.
        inputs: by MIL's name of the argument.
        constants: the arguments that are not inputs.
    """

    name: str
    about: str
    operation: str
    asks: tuple[str, ...]
    inputs: Mapping[str, Half]
    constants: Mapping[str, Any] = field(default_factory=dict)

    def build(self, builder: Any, inputs: Mapping[str, Any]) -> Any:
        """Return the output, made by coremltools' ``builder`` of the program's ``inputs``."""
        given = {key: inputs[f"{self.name}_{key}"] for key in self.inputs}
        return getattr(builder, self.operation)(**given, **self.constants, name=self.name)


def probe_inputs() -> dict[str, Half]:
    """Return the inputs of all probes by the names that the package has for them."""
    return {f"{p.name}_{key}": x for p in PROBES.values() for key, x in p.inputs.items()}


def _functions() -> list[Probe]:
    spans = {
        "sigmoid": (-8.0, 8.3),
        "tanh": (-4.5, 4.5),
        "gelu": (-3.4, 4.5),
        "silu": (-7.9, 8.5),
        "exp": (-9.0, 10.0),
        "log": (0.01, 40.0),
        "inverse": (0.01, 40.0),
        "sqrt": (0.01, 40.0),
        "rsqrt": (0.01, 40.0),
    }
    constants: dict[str, dict[str, Any]] = {
        "gelu": {"mode": "EXACT"},
        "inverse": {"epsilon": np.float16(0)},
    }
    return [
        Probe(
            name,
            f"{name} over a grid: a table of 33 knots, or rounded once",
            name,
            _TABLE,
            {"x": grid(low, high)},
            constants.get(name, {}),
        )
        for name, (low, high) in spans.items()
    ]


def _products() -> list[Probe]:
    rows = patterns()
    ones = np.ones((128, 2))
    ones[:, 1] = np.where(np.arange(128) < 49, 1, noise("weights", 128))
    tap = half([[1.0009765625, 1.3330078125, 1.7490234375, 0.7124023437]])
    x = half(np.linspace(1, 1.99, 32)[:, None])
    bias = half([0.3330078125, 5.37, 0.00137, 2.717])
    return [
        Probe(
            "matmul",
            "how the products of a matrix product are summed",
            "matmul",
            _SUMS,
            {"x": rows, "y": half(ones)},
        ),
        Probe(
            "conv",
            "how the products of a convolution are summed",
            "conv",
            _CONVOLUTION,
            {"x": half(rows.T[None])},
            {"weight": half(ones.T[:, :, None])},
        ),
        Probe(
            "linear_bias",
            "how a bias is added to a linear layer",
            "linear",
            ("bias", *_SUMS),
            {"x": np.repeat(x, 2, 1)},
            {"weight": half([[w, 0.25 * w] for w in tap[0]]), "bias": bias},
        ),
        Probe(
            "conv_bias",
            "how a bias is added to a convolution",
            "conv",
            ("bias", *_CONVOLUTION),
            {"x": half(np.repeat(x, 2, 1).T[None])},
            {"weight": half([[[w], [0.25 * w]] for w in tap[0]]), "bias": bias},
        ),
        Probe(
            "conv_3x3",
            "whether a dense 3x3 convolution is Winograd's",
            "conv",
            ("convolution", *_CONVOLUTION),
            {"x": noise("image", 1, 8, 12, 12)},
            {"weight": noise("kernels", 8, 8, 3, 3)},
        ),
        Probe(
            "ceiling",
            "matrix products up to 65,504",
            "matmul",
            ("product_ceiling",),
            {
                "x": half([[16376], [16384], [20000], [32752], [-16376], [-16384], [30000]]),
                "y": half([[1, 2]]),
            },
        ),
        Probe(
            "product_subnormals",
            "subnormal operands of a matrix product",
            "matmul",
            ("product_subnormals", "elementwise_subnormals"),
            {"x": half([[n * 2.0**-24] for n in range(1, 1024, 31)]), "y": half([[4096]])},
        ),
    ]


def _limits() -> list[Probe]:
    inf, nan = np.inf, np.nan
    small = [n * 2.0**-24 for n in range(1, 1024, 31)]
    return [
        Probe(
            "subnormals",
            "subnormal results, elementwise",
            "mul",
            ("elementwise_subnormals",),
            {"x": half(small), "y": half(np.ones(len(small)))},
        ),
        Probe(
            "sum_to_65504",
            "elementwise sums up to 65,504",
            "add",
            (),
            {"x": half([32752, 32768, 40000, 65472, 65504]), "y": half([0, 0, 8, 32, 0])},
        ),
        Probe(
            "zero_times_infinity",
            "what IEEE makes NaN",
            "mul",
            ("specials",),
            {"x": half([0, inf, 0, -inf]), "y": half([inf, 0, -inf, 0])},
        ),
        Probe(
            "nan",
            "NaN that comes in",
            "round",
            ("specials",),
            {"x": half([nan, inf, -inf, nan])},
        ),
        Probe("log_of_zero", "log(0)", "log", ("log_of_zero",), {"x": half(np.zeros(4))}),
        Probe(
            "softplus",
            "where softplus ends",
            "softplus",
            ("softplus_collapse",),
            {"x": half(np.linspace(4, 40, 128))},
        ),
        Probe(
            "round",
            "where halves go",
            "round",
            ("round",),
            {"x": half(np.arange(-32, 33) + 0.5)},
        ),
    ]


def _stages() -> list[Probe]:
    ones = np.ones((4, 65))
    ones[:, 0] = [2048, 4096, 1, 1000]
    ones[3, 1:] = 0.3
    return [
        Probe(
            "real_div",
            "a quotient, or a reciprocal and a product",
            "real_div",
            ("real_div", *_TABLE),
            {"x": noise("numerators", 512), "y": noise("denominators", 512)},
        ),
        Probe(
            "softmax",
            "a softmax, in stages or rounded once",
            "softmax",
            ("softmax", "reduce_sum", *_TABLE),
            {"x": noise("scores", 16, 48)},
            {"axis": -1},
        ),
        Probe(
            "reduce_sum",
            "sums, wide or narrow",
            "reduce_sum",
            ("reduce_sum",),
            {"x": half(ones)},
            {"axes": [-1], "keep_dims": True},
        ),
        Probe(
            "reduce_mean",
            "sums divided, or times a reciprocal",
            "reduce_mean",
            ("reduce_mean", "reduce_sum"),
            {"x": ties()},
            {"axes": [-1], "keep_dims": True},
        ),
        Probe(
            "reduce_mean_of_one",
            "a mean of one number and zeros, however sums are kept",
            "reduce_mean",
            ("reduce_mean",),
            {"x": one_of_many()},
            {"axes": [-1], "keep_dims": True},
        ),
        Probe(
            "layer_norm",
            "the stages of a norm",
            "layer_norm",
            ("normalisation", "reduce_sum", "reduce_mean", *_TABLE),
            {"x": noise("rows", 16, 48)},
            {
                "axes": [-1],
                "gamma": noise("gamma", 48),
                "beta": noise("beta", 48),
                "epsilon": np.float16(1e-3),
            },
        ),
    ]


PROBES: Final[Mapping[str, Probe]] = MappingProxyType(
    {p.name: p for p in (*_functions(), *_products(), *_limits(), *_stages())}
)
"""All probes, by name."""
