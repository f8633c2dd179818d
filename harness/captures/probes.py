"""Probes: one operation each, with fixed inputs, whose outputs tell rules of devices apart.

A probe says which properties of a device (`harness.devices.properties`) its outputs depend on, and
nothing else may change them: that is tested. So a capture is explained probe by probe, and what
each allows is joined. Inputs and constants are FP16, computed from integers and one seed, the same
on every machine. Inputs are named ``PROBE_x`` (and ``PROBE_y``), outputs ``PROBE``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Half = npt.NDArray[np.float16]

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


def _half(values: Any) -> Half:
    return np.ascontiguousarray(values, dtype=np.float16)


def _noise(name: str, *shape: int) -> Half:
    """Return values of N(0, 1), as far as FP16 goes, without zeros and subnormals."""
    seed = np.frombuffer(name.encode().ljust(32, b"\0")[:32], np.uint32).tolist()
    x = np.random.default_rng(seed).standard_normal(shape)
    return _half(np.where(np.abs(x) < 2**-6, 2**-6, x))


def _grid(low: float, high: float) -> Half:
    """Return 2,048 FP16 numbers from ``low`` to ``high`` without those near 0."""
    x = _half(np.linspace(low, high, 2048))
    return np.where(np.abs(x) < 2**-7, np.float16(2**-7), x)


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
            {"x": _grid(low, high)},
            constants.get(name, {}),
        )
        for name, (low, high) in spans.items()
    ]


def _patterns() -> Half:
    """Return rows of 128 terms, each to be summed: the published probes, and noise [14, 128]."""
    rows = np.zeros((14, 128))
    for row, big in enumerate((1024, 3000, 4090, 4096, 8000, 14000)):
        rows[row, :48] = np.tile([big, -big, 1], 16)
    rows[6, :49] = [4096, *[1] * 48]
    rows[7, :17] = [8192, *[1] * 16]
    # Two terms that the M5's GPU adds first, and a serial sum doesn't.
    rows[8, [0, 2, 8]] = [16384, -16384, 2**-11]
    rows[9:] = _noise("patterns", 5, 128)
    return _half(rows)


def _products() -> list[Probe]:
    patterns = _patterns()
    ones = np.ones((128, 2))
    ones[:, 1] = np.where(np.arange(128) < 49, 1, _noise("weights", 128))
    tap = _half([[1.0009765625, 1.3330078125, 1.7490234375, 0.7124023437]])
    x = _half(np.linspace(1, 1.99, 32)[:, None])
    bias = _half([0.3330078125, 5.37, 0.00137, 2.717])
    return [
        Probe(
            "matmul",
            "how the products of a matrix product are summed",
            "matmul",
            _SUMS,
            {"x": patterns, "y": _half(ones)},
        ),
        Probe(
            "conv",
            "how the products of a convolution are summed",
            "conv",
            _CONVOLUTION,
            {"x": _half(patterns.T[None])},
            {"weight": _half(ones.T[:, :, None])},
        ),
        Probe(
            "linear_bias",
            "how a bias is added to a linear layer",
            "linear",
            ("bias", *_SUMS),
            {"x": np.repeat(x, 2, 1)},
            {"weight": _half([[w, 0.25 * w] for w in tap[0]]), "bias": bias},
        ),
        Probe(
            "conv_bias",
            "how a bias is added to a convolution",
            "conv",
            ("bias", *_CONVOLUTION),
            {"x": _half(np.repeat(x, 2, 1).T[None])},
            {"weight": _half([[[w], [0.25 * w]] for w in tap[0]]), "bias": bias},
        ),
        Probe(
            "conv_3x3",
            "whether a dense 3x3 convolution is Winograd's",
            "conv",
            ("convolution", *_CONVOLUTION),
            {"x": _noise("image", 1, 8, 12, 12)},
            {"weight": _noise("kernels", 8, 8, 3, 3)},
        ),
        Probe(
            "ceiling",
            "matrix products up to 65,504",
            "matmul",
            ("product_ceiling",),
            {
                "x": _half([[16376], [16384], [20000], [32752], [-16376], [-16384], [30000]]),
                "y": _half([[1, 2]]),
            },
        ),
        Probe(
            "product_subnormals",
            "subnormal operands of a matrix product",
            "matmul",
            ("product_subnormals", "elementwise_subnormals"),
            {"x": _half([[n * 2.0**-24] for n in range(1, 1024, 31)]), "y": _half([[4096]])},
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
            {"x": _half(small), "y": _half(np.ones(len(small)))},
        ),
        Probe(
            "sum_to_65504",
            "elementwise sums up to 65,504",
            "add",
            (),
            {"x": _half([32752, 32768, 40000, 65472, 65504]), "y": _half([0, 0, 8, 32, 0])},
        ),
        Probe(
            "zero_times_infinity",
            "what IEEE makes NaN",
            "mul",
            ("specials",),
            {"x": _half([0, inf, 0, -inf]), "y": _half([inf, 0, -inf, 0])},
        ),
        Probe(
            "nan",
            "NaN that comes in",
            "round",
            ("specials",),
            {"x": _half([nan, inf, -inf, nan])},
        ),
        Probe("log_of_zero", "log(0)", "log", ("log_of_zero",), {"x": _half(np.zeros(4))}),
        Probe(
            "softplus",
            "where softplus ends",
            "softplus",
            ("softplus_collapse",),
            {"x": _half(np.linspace(4, 40, 128))},
        ),
        Probe(
            "round",
            "where halves go",
            "round",
            ("round",),
            {"x": _half(np.arange(-32, 33) + 0.5)},
        ),
    ]


def _ties() -> Half:
    """Return rows of 60 whose mean lies half-way between two FP16 numbers [16, 60].

    There the reciprocal of 60 in FP32, which is a little wrong, decides where it is rounded.
    """
    count, rows = 60, []
    reciprocal = np.float32(1 / count)
    for whole in range(1025, 2047):
        total = count * (whole + 0.5)
        product = np.float32(np.float32(total) * reciprocal)
        if np.float16(product) != np.float16(whole + 0.5):
            row = np.full(count, float(whole))
            row[: count // 2] += 1
            rows.append(row)
    return _half(rows[:16])


def _one_of_many() -> Half:
    """Return one number among zeros, whose mean falls on either side of a rounding [1, 3439].

    Of all FP16 numbers and all counts up to 4,095 there are 13 such; a sum of one number is the
    same with any accumulator.
    """
    row = np.zeros((1, 3439))
    row[0, 0] = 1552
    return _half(row)


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
            {"x": _noise("numerators", 512), "y": _noise("denominators", 512)},
        ),
        Probe(
            "softmax",
            "a softmax, in stages or rounded once",
            "softmax",
            ("softmax", "reduce_sum", *_TABLE),
            {"x": _noise("scores", 16, 48)},
            {"axis": -1},
        ),
        Probe(
            "reduce_sum",
            "sums, wide or narrow",
            "reduce_sum",
            ("reduce_sum",),
            {"x": _half(ones)},
            {"axes": [-1], "keep_dims": True},
        ),
        Probe(
            "reduce_mean",
            "sums divided, or times a reciprocal",
            "reduce_mean",
            ("reduce_mean", "reduce_sum"),
            {"x": _ties()},
            {"axes": [-1], "keep_dims": True},
        ),
        Probe(
            "reduce_mean_of_one",
            "a mean of one number and zeros, however sums are kept",
            "reduce_mean",
            ("reduce_mean",),
            {"x": _one_of_many()},
            {"axes": [-1], "keep_dims": True},
        ),
        Probe(
            "layer_norm",
            "the stages of a norm",
            "layer_norm",
            ("normalisation", "reduce_sum", "reduce_mean", *_TABLE),
            {"x": _noise("rows", 16, 48)},
            {
                "axes": [-1],
                "gamma": _noise("gamma", 48),
                "beta": _noise("beta", 48),
                "epsilon": np.float16(1e-3),
            },
        ),
    ]


PROBES: Final[Mapping[str, Probe]] = MappingProxyType(
    {p.name: p for p in (*_functions(), *_products(), *_limits(), *_stages())}
)
"""All probes, by name."""
