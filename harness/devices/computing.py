"""A device: a profile with every property settled, and what it makes of FP16 values.

    device("ane-m1").function("sigmoid", x)
    device("ane-m1", normalisation="stages").layer_norm(x, [-1], gamma, beta, 1e-5)
    [d.function("gelu", x) for d in band("ane-m1")]

Tensors are float32 or float16 and on any PyTorch device; what is not on the FP16 grid is rounded to
it first. Results are on the grid and in the type of the first argument. Everything is a pure
function of its arguments and settings. There are no gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from harness.devices import convolution as unfolding
from harness.devices import grid, reductions
from harness.devices.accumulators import products
from harness.devices.convolution import Window
from harness.devices.profile import Profile, ProfileError
from harness.devices.properties import PROPERTIES, Setting
from harness.devices.reading import load_profile
from harness.devices.values import every_value
from harness.devices.winograd import winograd
from harness.errors import require_known


@dataclass(frozen=True)
class Device:
    """How one unit computes, with its unknowns settled one way.

    Attributes:
        profile: what is known of it.
        settings: the value of every property that applies.
        chosen: what is not open any more, be it as the profile assumes.
    """

    profile: Profile
    settings: Mapping[str, Setting]
    chosen: frozenset[str] = frozenset()
    _lookups: dict[tuple[str, torch.device], Tensor] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def label(self) -> str:
        """The profile's name, and what is set in another way than it assumes."""
        usual = self.profile.settings()
        other = [
            f"{name}={value}" for name, value in self.settings.items() if value != usual.get(name)
        ]
        return ", ".join([self.profile.name, *other])

    def supposing(self, /, **settings: Setting) -> Device:
        """Return the device as if properties were otherwise, facts too: what they cost is asked.

        Raises:
            UnknownNameError: no such property.
            ProfileError: the property can't be that.
        """
        for name, value in settings.items():
            require_known("device property", PROPERTIES, name)
            problem = PROPERTIES[name].problem(value)
            if problem is not None:
                raise ProfileError(f"{name}: {problem}")
        now = MappingProxyType({**self.settings, **settings})
        return Device(self.profile, now, self.chosen | settings.keys())

    # ------------------------------------------------------------------ one variable

    def function(self, name: str, x: Tensor) -> Tensor:
        """Return the function ``name`` of `harness.devices.reference.FUNCTIONS` at ``x``.

        Raises:
            UnknownNameError: there is no such function.
            ProfileError: a gradient is asked for.
        """
        if x.requires_grad:
            raise ProfileError(
                f"{self.label} has no gradient of {name}; detach its argument, or compute without"
            )
        key = (name, x.device)
        if key not in self._lookups:
            with np.errstate(invalid="ignore"):  # of a signalling NaN, which becomes a quiet one
                values = every_value(self.profile, self.settings, name).astype(np.float32)
            self._lookups[key] = torch.from_numpy(values).to(x.device)
        bits = x.half().view(torch.int16).to(torch.int64) & 0xFFFF
        return self._lookups[key].take(bits).to(x.dtype)

    def round(self, x: Tensor) -> Tensor:
        """Return ``x`` rounded to whole numbers."""
        half_away = self.settings["round"] == "half_away"
        taken = self._taken(x)
        y = taken.abs().add(0.5).floor().copysign(taken) if half_away else taken.round()
        return self._stored(y, x)

    # ------------------------------------------------------------------ elementwise

    def elementwise(self, compute: Callable[..., Tensor], *operands: Tensor) -> Tensor:
        """Return ``compute``, in float32, of the operands, rounded once: sums, products, ..."""
        return self._stored(compute(*map(self._taken, operands)), operands[0])

    def real_div(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a / b."""
        if self.settings["real_div"] == "rounded_once":
            return self.elementwise(torch.div, a, b)
        return self.elementwise(torch.mul, a, self.function("reciprocal", b))

    def slice_width(self, x: Tensor, begin: int, end: int) -> Tensor:
        """Return elements ``begin`` to ``end`` (exclusive) of the last axis of ``x``."""
        part = self._taken(x[..., begin:end])
        gain = float(self.settings["slice_gain"])
        if not begin or gain == 1:
            return self._stored(part, x)
        return self._stored(grid.limited(part, grid.OVERFLOW / gain), x)

    def _taken(self, x: Tensor) -> Tensor:
        """Return what the unit sees of ``x``, in float32."""
        x = grid.rounded(x)
        if self.settings["specials"] == "never_nan":
            x = torch.where(x.isnan(), torch.inf, x) + 0.0  # a zero has no sign either
        return grid.flushed(x) if self.settings["elementwise_subnormals"] == "flushed" else x

    def _stored(self, result: Tensor, like: Tensor) -> Tensor:
        """Return ``result`` as the unit stores it, in the type of ``like``."""
        y = grid.rounded(result)
        if self.settings["specials"] == "never_nan":
            y = torch.where(y.isnan(), 0.0, y)
        if self.settings["elementwise_subnormals"] == "flushed":
            y = grid.flushed(y)
        return y.to(like.dtype)

    # ------------------------------------------------------------------ sums of products

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the matrix product of ``a`` [..., M, K] and ``b`` [..., K, N]."""
        y = self._product(self._operand(a), self._operand(b), "accumulator")
        return y.to(a.dtype)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return x W^T + b for ``x`` [..., K], ``weight`` [N, K] and ``bias`` [N]."""
        early, late = self._biases(bias)
        rows, columns = self._operand(x.reshape(1, -1, x.shape[-1])), self._operand(weight.T[None])
        y = self._product(rows, columns, "accumulator", early).to(x.dtype)
        y = y.reshape(*x.shape[:-1], weight.shape[0])
        return y if late is None else self.elementwise(torch.add, y, late)

    def _biases(self, bias: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """Return what is added before sums are rounded, and what is added after."""
        if bias is not None and self.settings["bias"] == "wide":
            return self._taken(bias), None
        return None, bias

    def convolution(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        window: Window,
    ) -> Tensor:
        """Return the convolution of ``x`` [N, C_in, *D] with [C_out, C_in / groups, *K]."""
        way, (early, late) = str(self.settings["convolution"]), self._biases(bias)
        steps = (*window.strides, *window.dilations, window.groups)
        dense = (*weight.shape[2:], *steps) == (3, 3, 1, 1, 1, 1, 1)
        if way != "direct" and dense:
            tile = {"winograd_2": 2, "winograd_4": 4}[way]
            sums = winograd(self._taken(x), self._taken(weight), tile, list(window.padding), early)
            y = self._stored(grid.limited(sums, float(self.settings["product_ceiling"])), x)
        else:
            product = self._product_of(weight[0].numel(), early, window.groups)
            taken, kernels = map(self._operand, (x, weight))  # once, not in each of the windows
            y = unfolding.convolution(taken, kernels, product, window).to(x.dtype)
        return y if late is None else self._with_bias(y, late)

    def transposed_convolution(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        window: Window,
    ) -> Tensor:
        """Return ``x`` [N, C_in, *D] spread by ``weight`` [C_in, C_out / groups, *K]."""
        early, late = self._biases(bias)
        terms = weight.shape[0] // window.groups * weight.shape[2:].numel()
        unit = self
        if self.settings["transposed_convolution"] == "sequential_fp16_fused":
            unit = self.supposing(
                convolution_accumulator="sequential_fp16", product_rounding="fused"
            )
        product = unit._product_of(terms, early, window.groups)
        taken, kernels = map(self._operand, (x, weight))
        y = unfolding.transposed_convolution(taken, kernels, product, window).to(x.dtype)
        return y if late is None else self._with_bias(y, late)

    def _with_bias(self, y: Tensor, bias: Tensor) -> Tensor:
        return self.elementwise(torch.add, y, bias.reshape([-1] + [1] * (y.ndim - 2)))

    def _operand(self, x: Tensor) -> Tensor:
        """Return what a product sees of ``x``, in float32."""
        flushes = self.settings["product_subnormals"] == "flushed"
        return grid.flushed(self._taken(x)) if flushes else self._taken(x)

    def _product_of(self, terms: int, bias: Tensor | None, groups: int) -> unfolding.Product:
        offsets = None if bias is None else bias.reshape(groups, -1, 1)
        return lambda a, b: self._product(a, b, "convolution_accumulator", offsets, terms)

    def _product(
        self, a: Tensor, b: Tensor, way: str, bias: Tensor | None = None, terms: int | None = None
    ) -> Tensor:
        """Return sums of ``terms`` products by the property ``way``, and a bias added to them.

        The operands are of `_operand`.
        """
        # One tap from one channel sums nothing, and goes to the end of FP16.
        ceiling = grid.OVERFLOW if terms == 1 else float(self.settings["product_ceiling"])
        y = products(
            a,
            b,
            accumulator=str(self.settings[way]),
            alignment=str(self.settings.get("tile_alignment", "truncated")),
            rounding=str(self.settings.get("product_rounding", "fused")),
            ceiling=ceiling,
            bias=bias,
        )
        return self._stored(y, y)

    def fp32_operand(self, x: Tensor) -> Tensor:
        """Return what an FP32 matrix product sees of the float32 tensor ``x``."""
        if self.settings.get("fp32_operands") != "low_13_bits_dropped":
            return x
        return (x.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)

    # ------------------------------------------------------------------ reductions

    def sum(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return the sum of ``x`` over ``axes``, which are kept with length 1."""
        accumulator = str(self.settings["reduce_sum"])
        return self._stored(reductions.total(self._taken(x), axes, accumulator), x)

    def mean(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return the mean of ``x`` over ``axes``, which are kept with length 1."""
        accumulator, way = str(self.settings["reduce_sum"]), str(self.settings["reduce_mean"])
        return self._stored(reductions.mean(self._taken(x), axes, accumulator, way), x)

    def softmax(self, x: Tensor, axis: int) -> Tensor:
        """Return e^x divided by its sum along ``axis``."""
        if self.settings["softmax"] == "rounded_once":
            return self.elementwise(lambda v: torch.softmax(v, axis), x)
        shifted = self.elementwise(torch.sub, x, self._taken(x).amax(axis, keepdim=True))
        exponentials = self.function("exp", shifted)
        reciprocal = self.function("reciprocal", self.sum(exponentials, [axis]))
        return self.elementwise(torch.mul, exponentials, reciprocal)

    def log_sum_exp(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Return log(sum(e^x)) over ``axes``, which are kept with length 1.

        Where no NaN leaves the unit, an infinite sum gives 0.
        """
        if self.settings["specials"] == "ieee":
            return self.elementwise(lambda v: torch.logsumexp(v, list(axes), keepdim=True), x)
        sums = self.sum(self.function("exp", x), axes)
        return torch.where(sums.isinf(), 0.0, self.function("log", sums))

    def layer_norm(
        self,
        x: Tensor,
        axes: Sequence[int],
        gamma: Tensor | None = None,
        beta: Tensor | None = None,
        epsilon: float = 1e-5,
    ) -> Tensor:
        """Return ``x`` without mean and with a variance of 1 over ``axes``, times gamma plus beta.

        Args:
            x: values of the FP16 grid.
            axes: over which mean and (biased) variance are taken.
            gamma: broadcast with ``x``; 1 by default.
            beta: broadcast with ``x``; 0 by default.
            epsilon: added to the variance.
        """
        way = self.settings["normalisation"]
        if way == "stages":
            centred = self.elementwise(torch.sub, x, self.mean(x, axes))
            squares = self.mean(self.elementwise(torch.square, centred), axes)
            offset = torch.tensor(epsilon, dtype=squares.dtype, device=squares.device)
            scale = self.function("rsqrt", self.elementwise(torch.add, squares, offset))
            y = self.elementwise(torch.mul, centred, scale)
        else:
            taken = self._taken(x)
            variance, mean = torch.var_mean(taken, list(axes), correction=0, keepdim=True)
            y = (taken - mean) * torch.rsqrt(variance + epsilon)
            if way == "rounded_once":
                y = y if gamma is None else y * self._taken(gamma)
                return self._stored(y if beta is None else y + self._taken(beta), x)
            y = self._stored(y, x)
        y = y if gamma is None else self.elementwise(torch.mul, y, gamma)
        return y if beta is None else self.elementwise(torch.add, y, beta)


def device(profile: str | Profile, /, **choices: Setting) -> Device:
    """Return a device by its profile, with some unknowns settled otherwise than it assumes.

    Args:
        profile: a profile, or the name of a shipped one.
        choices: the value of a property that the profile has as unknown.

    Raises:
        UnknownNameError: no such profile or property.
        ProfileError: the property is a fact, does not apply, or has no such variant.
    """
    profile = load_profile(profile) if isinstance(profile, str) else profile
    for name, value in choices.items():
        require_known("device property", PROPERTIES, name)
        if name in profile.facts:
            raise ProfileError(
                f"{profile.name}: {name} is known to be {profile.facts[name].value!r}; only "
                f"unknowns can be set ({', '.join(profile.unknowns)})"
            )
        if name not in profile.unknowns:
            raise ProfileError(
                f"{profile.name}: {name} does not apply; expected one of its unknowns "
                f"({', '.join(profile.unknowns)})"
            )
        if value not in profile.values(name):
            raise ProfileError(
                f"{profile.name}: {name} can't be {value!r}; expected one of "
                f"{list(profile.values(name))}"
            )
    return Device(profile, MappingProxyType(profile.settings() | choices), frozenset(choices))


def band(of: str | Profile | Device) -> tuple[Device, ...]:
    """Return a device, then the same with each other variant of each unknown alone.

    What was chosen stays as it is. What a quantity comes to over
    these is a band; it is no bound, because unknowns may add up.

    Raises:
        UnknownNameError: no such profile.
    """
    usual = of if isinstance(of, Device) else device(of)
    others = [
        usual.supposing(**{name: variant})
        for name, unknown in usual.profile.unknowns.items()
        if name not in usual.chosen
        for variant in unknown.variants
        if variant != unknown.assumed
    ]
    return (usual, *others)
