"""Each operation's share of the output error, by probes.

With e what FP16 does to an operation's result and J the derivative of the outputs with respect to
it, the error that reaches the outputs is J e, to first order, and a probe v gives one number of it:
t = v . J e = g . e, with the gradient g = J^T v. Two estimates of Q = |J e|^2 come of it:

- the mean of t^2 is unbiased and knows how the elements of e hang together, but each probe is worth
  one number only: with n probes its logarithm has the variance of a chi square's with n degrees;
- the mean of sum((g e)^2) takes the elements of e as independent, which roundings nearly are; it is
  what t^2 would be on average over their signs. (An error of the constants is the same wherever
  they are used, and is added up there first.) It hardly varies from probe to probe where the error
  reaches the outputs in many directions, but it misses Q by what the signs really are.

By how much it misses is learnt from all operations at once (empirical Bayes): between operations of
about as many directions, the ratio of the two estimates varies by the known chi square and by what
the second one misses (DerSimonian and Laird, "Meta-analysis in clinical trials", 1986). Each
operation's ratio is then shrunk towards the mean of its kind as far as that says. Where the two
contradict each other the first is right, and is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import digamma, polygamma

from harness.mil.plan import Plan
from harness.precision.adjoint import Visit
from harness.precision.roundings import Roundings, shared_axes

Array = npt.NDArray[np.float64]
_CONTRADICTION = 3.0
"""Standard deviations between the two estimates from which they contradict each other."""
_MOST_DIRECTIONS = 1e4
_KINDS = 6
_ROWS = 40
"""Operations of one kind from which a variance can be learnt; with fewer it follows from the
directions alone."""


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
    """Weigh the two estimates of each row, a row for each operation.

    Args:
        coherent: t^2 by row and probe.
        independent: sum((g e)^2) by row and probe.
    """
    probes = coherent.shape[1]
    first, second = coherent.mean(1), independent.mean(1)
    known = (first > 0) & (second > 0)
    safe_first, safe_second = np.where(known, first, 1.0), np.where(known, second, 1.0)
    noise = float(polygamma(1, probes / 2))
    expected = float(digamma(probes / 2)) - np.log(probes / 2)  # of a chi square's logarithm
    gap = np.log(safe_first) - np.log(safe_second) - expected
    spread = independent.var(1, ddof=1) if probes > 1 else np.zeros(len(first))
    centre, between = _missed(gap, spread / safe_second**2, noise, known)
    weight = between / (between + noise)
    variance = weight * noise
    # Half the variance makes the mean of a logarithm that of the share: shares are added up.
    value = safe_second * np.exp(centre + weight * (gap - centre) + variance / 2)
    contradicts = np.abs(gap - centre) > _CONTRADICTION * np.sqrt(between + noise)
    value = np.where(contradicts | ~known, first, value)
    return Estimate(value, np.sqrt(np.where(contradicts, noise, variance)))


def _missed(
    gap: Array, variation: Array, noise: float, known: npt.NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Return by how much the second estimate is off, and the variance of that, for each row.

    Args:
        gap: between the logarithms of the two estimates.
        variation: of the second from probe to probe, relative: large with few directions.
        noise: variance of the first one's logarithm.
        known: the rows that count.
    """
    centre = np.zeros(len(gap))
    between = polygamma(1, 1 / np.clip(variation, 1 / _MOST_DIRECTIONS, 2.0))
    rows = np.flatnonzero(known)
    kinds = min(_KINDS, len(rows) // _ROWS)
    for alike in np.array_split(rows[np.argsort(variation[rows], kind="stable")], max(kinds, 1)):
        if len(alike) >= _ROWS:
            centre[alike] = gap[alike].mean()
            # A variance that is learnt from few rows is no surer than this.
            least = noise * np.sqrt(8 / len(alike))
            between[alike] = max(gap[alike].var() - noise, least)
    return centre, between
