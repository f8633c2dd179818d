"""Each operation's share of the output error, by probes.

With e what FP16 does to an operation's result and J the derivative of the outputs with respect to
it, the error that reaches the outputs is J e, to first order, and a probe v gives one number of it:
t = v . J e = g . e, with the gradient g = J^T v. Two estimates of Q = |J e|^2 come of it:

- the mean of t^2 is unbiased and knows how the elements of e hang together, but each probe is worth
  one number only: with n probes it is off by sqrt(2 / n);
- the mean of sum((g e)^2) takes the elements of e as independent, which roundings nearly are; it is
  what t^2 would be on average over their signs. Each probe is worth as many numbers as the error
  has directions at the outputs, often thousands. (An error of the constants is the same wherever
  they are used, and is added up there first.)

How many directions there are shows in how much the second estimate varies from probe to probe; by
that the two are weighed. Where they contradict each other the first is right, and is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import polygamma

from harness.mil.plan import Plan
from harness.precision.adjoint import Visit
from harness.precision.roundings import Roundings, shared_axes

Array = npt.NDArray[np.float64]
_CONTRADICTION = 3.0
"""Standard deviations between the two estimates from which they contradict each other."""
_MOST_DIRECTIONS = 1e4


@dataclass(frozen=True)
class Estimate:
    """Shares with their uncertainty.

    Attributes:
        value: of each row.
        deviation: of its natural logarithm.
    """

    value: Array
    deviation: Array


class ShareCollector:
    """A visitor of `walk_back` that estimates what each operation adds to the output error.

    Args:
        plan: of the FP32 model.
        roundings: the operations in FP16.
        inputs: for each operation that has a share, the inputs whose rounding is counted.
    """

    def __init__(
        self, plan: Plan, roundings: Roundings, inputs: Mapping[str, Collection[int]]
    ) -> None:
        self._plan, self._roundings, self._inputs = plan, roundings, inputs
        self._scratch = Scratch()
        self._names: list[str] = []
        self._coherent: list[torch.Tensor] = []
        self._independent: list[torch.Tensor] = []

    def __call__(self, visit: Visit) -> None:
        """Add what one operation contributes."""
        step = visit.step
        inputs = self._inputs.get(step.operation.name)
        if inputs is None:
            return
        error = self._roundings.error(step, visit.values, visit.outputs, inputs)
        if not error:
            return
        constants = self._roundings.constants_error(step, visit.values, visit.outputs)
        coherent: torch.Tensor | float = 0.0
        independent: torch.Tensor | float = 0.0
        for slot, gradient in visit.at_outputs.items():
            if slot not in error:
                continue
            shared = error[slot]
            if slot in constants:
                shared = shared - constants[slot]
                parts = gradient * constants[slot]
                axes = [axis + 1 for axis in shared_axes(self._plan, step)]
                sums = (parts.sum(axes) if axes else parts).reshape(len(parts), -1)
                coherent = coherent + sums.sum(1)
                independent = independent + sums.square().sum(1)
            coherent = coherent + gradient.flatten(1) @ shared.flatten()
            independent = independent + self._scratch.squares(gradient, shared)
        assert isinstance(coherent, torch.Tensor)
        assert isinstance(independent, torch.Tensor)
        self._names.append(step.operation.name)
        self._coherent.append(coherent.square())
        self._independent.append(independent)

    def table(self) -> tuple[list[str], Array, Array]:
        """Return names, and for each and each probe t^2 and sum((g e)^2)."""
        if not self._names:
            return [], np.zeros((0, 0)), np.zeros((0, 0))
        columns = (torch.stack(self._coherent), torch.stack(self._independent))
        first, second = (column.double().cpu().numpy() for column in columns)
        return self._names, first, second


class Scratch:
    """Memory for products that nobody keeps: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def squares(self, gradient: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Return sum((g e)^2) for each row g of ``gradient`` [probes, *error]."""
        if self._memory.numel() < gradient.numel() or self._memory.device != gradient.device:
            self._memory = torch.empty(gradient.numel(), device=gradient.device)
        out = self._memory[: gradient.numel()].view(gradient.shape)
        torch.mul(gradient, error, out=out)
        norms: torch.Tensor = torch.linalg.vector_norm(out.view(len(gradient), -1), dim=1)
        return norms.square()


def combine(coherent: Array, independent: Array) -> Estimate:
    """Weigh the two estimates of each row.

    Args:
        coherent: t^2 by row and probe.
        independent: sum((g e)^2) by row and probe.
    """
    probes = coherent.shape[1]
    first, second = coherent.mean(1), independent.mean(1)
    silent = (first <= 0) | (second <= 0)
    first, second = np.where(silent, 1.0, first), np.where(silent, 1.0, second)
    spread = independent.var(1, ddof=1) if probes > 1 else 2 * second**2
    directions = np.clip(2 * second**2 / np.maximum(spread, 1e-300), 1.0, _MOST_DIRECTIONS)
    # Both are means of squares, so their logarithms have the variance of a chi square's. Its bias
    # stays in: shares are added up, and their sum has none.
    log_first = np.log(first)
    log_second = np.log(second)
    variance_first = polygamma(1, probes / 2)
    variance_second = polygamma(1, directions / 2) + 2 / (directions * probes)
    weight = (1 / variance_second) / (1 / variance_first + 1 / variance_second)
    gap = np.abs(log_first - log_second) / np.sqrt(variance_first + variance_second)
    weight = np.where(gap > _CONTRADICTION, 0.0, weight)
    value = np.exp((1 - weight) * log_first + weight * log_second)
    deviation = np.sqrt((1 - weight) ** 2 * variance_first + weight**2 * variance_second)
    return Estimate(np.where(silent, coherent.mean(1), value), deviation)
