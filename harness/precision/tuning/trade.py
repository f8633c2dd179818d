"""The cheapest operations to keep in FP32 for an error within bounds.

Minimise cost(x) such that error_m(x) <= bound_m for every measure m, where x says which operations
run in FP32. Error and cost are sums over operations and over pairs of neighbours: a value is
rounded unless its maker *and* its reader are in FP32, and a border between FP32 and FP16 costs a
cast. With a price on each measure's error, what remains is to minimise

    sum_k a_k x_k + b_k (1 - x_k) + sum_(r, c) p_rc x_r (1 - x_c) + q_rc |x_r - x_c|

whose pairwise terms all favour agreement, so a minimum cut of a graph solves it exactly
(Kolmogorov and Zabih, "What energy functions can be minimized via graph cuts?", 2004). The prices
are found by bisection of their level, and by raising those of the measures that are violated most.
What a common price leaves too tight, pruning gives back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from harness.precision.tuning.parts import Parts

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_Limits = tuple[Mask, Mask]
"""Operations that have to run in FP32, and those that may."""
_LARGEST = 1 << 28  # capacities are whole numbers of 32 bits, and some add up
_ROUNDS = 12
_BISECTIONS = 24
_LEAST_PRICE = 1e-3


@dataclass(frozen=True, eq=False)
class Costs:
    """What FP32 costs.

    Attributes:
        operations: of each operation of the parts in FP32, over FP16.
        casts: of each edge of the parts, where only one side is in FP32.
    """

    operations: Array
    casts: Array

    def total(self, parts: Parts, wide: Mask) -> float:
        """Return the cost of running ``wide`` in FP32."""
        cost = float(self.operations[wide].sum())
        if not parts.edges:
            return cost
        makers, readers = np.array(parts.edges).T
        border = np.where(makers < 0, True, wide[makers]) != wide[readers]
        return cost + float(self.casts[border].sum())


def cheapest(
    parts: Parts,
    costs: Costs,
    bounds: Array,
    forced: Mask | None = None,
    allowed: Mask | None = None,
) -> Mask:
    """Return which operations to run in FP32, so that the predicted error is within ``bounds``.

    Args:
        parts: of the error.
        costs: of FP32.
        bounds: greatest error by measure; positive.
        forced: operations that have to run in FP32.
        allowed: operations that may run in FP32, ``forced`` among them; all of them are the result
            if no choice is within ``bounds``.
    """
    fixed = np.zeros(len(parts.operations), bool) if forced is None else forced
    best = np.ones(len(parts.operations), bool) if allowed is None else allowed
    limits = fixed, best
    scaled = parts.scaled(1 / bounds)
    shares = np.ones(len(parts.measures)) / len(parts.measures)
    for _ in range(_ROUNDS):
        found = _at_prices(scaled, costs, shares, limits)
        error = scaled.error(found)
        pruned = prune(scaled, costs, found, fixed)
        if costs.total(parts, pruned) < costs.total(parts, best):
            best = pruned
        if error.max() == 0:
            break
        # The tightest bounds get dearer, those with room to spare cheaper: multiplicative weights,
        # with a power under 1 so that prices don't swing from one bound to another.
        shares = shares * np.maximum(error / error.max(), _LEAST_PRICE) ** 0.7
        shares = shares / shares.sum()
    return best


def _at_prices(parts: Parts, costs: Costs, shares: Array, limits: _Limits) -> Mask:
    """Return the cheapest solution within all bounds (of 1) that a level of prices gives."""
    scale = max(costs.operations.sum() + costs.casts.sum(), 1e-30)
    low, high = 1e-9, 1e9
    _, best = limits
    for _ in range(_BISECTIONS):
        middle = (low * high) ** 0.5
        wide = _cut(parts, costs, middle * scale * shares, limits)
        if parts.error(wide).max() <= 1:
            best, high = wide, middle
        else:
            low = middle
    return best


def _cut(parts: Parts, costs: Costs, prices: Array, limits: _Limits) -> Mask:
    """Return the exact minimum for ``prices`` within ``limits``, by a minimum cut."""
    forced, allowed = limits
    size = len(parts.operations)
    wide_end, narrow_end = size, size + 1
    # What is settled is one with its end of the graph, and so is the program's input, place -1.
    places = np.where(allowed, np.arange(size), narrow_end)
    places = np.append(np.where(forced, wide_end, places), wide_end)
    free = np.flatnonzero(places[:size] < size)
    tails = [np.full(len(free), wide_end), free]
    heads = [free, np.full(len(free), narrow_end)]
    capacities = [(parts.own @ prices)[free], costs.operations[free]]
    if parts.edges:
        makers, readers = places[np.array(parts.edges).T]
        between = (makers != readers) & (np.minimum(makers, readers) < size)
        makers, readers = makers[between], readers[between]
        tails += [makers, readers]
        heads += [readers, makers]
        capacities += [
            (parts.at_edges @ prices + costs.casts)[between],
            costs.casts[between],
        ]
    capacity = np.concatenate(capacities)
    limit = max(float(costs.operations.sum() + costs.casts.sum()), 1e-30)
    whole = np.ceil(np.minimum(capacity / limit, 1.0) * _LARGEST).astype(np.int32)
    graph = csr_array(
        coo_array((whole, (np.concatenate(tails), np.concatenate(heads))), shape=(size + 2,) * 2)
    )
    flow = maximum_flow(graph, wide_end, narrow_end).flow
    residual = csr_array(graph - flow)
    residual.eliminate_zeros()
    reached = breadth_first_order(residual, wide_end, return_predecessors=False)
    wide = np.zeros(size + 2, bool)
    wide[reached] = True
    found: Mask = wide[places[:size]]
    return found


def prune(parts: Parts, costs: Costs, wide: Mask, fixed: Mask) -> Mask:
    """Take operations but ``fixed`` out of ``wide`` as long as bounds of 1 hold and it pays."""
    wide = wide.copy()
    size = len(parts.operations)
    reads: list[list[int]] = [[] for _ in range(size)]
    results: list[list[int]] = [[] for _ in range(size)]
    for edge, (maker, reader) in enumerate(parts.edges):
        reads[reader].append(edge)
        if maker >= 0:
            results[maker].append(edge)
    error = parts.error(wide)
    for operation in np.argsort(-costs.operations, kind="stable"):
        if not wide[operation] or fixed[operation]:
            continue
        saved, more = costs.operations[operation], parts.own[operation].copy()
        for edge in reads[operation]:
            maker = parts.edges[edge][0]
            if maker < 0 or wide[maker]:
                saved, more = saved - costs.casts[edge], more + parts.at_edges[edge]
            else:
                saved += costs.casts[edge]
        for edge in results[operation]:
            if wide[parts.edges[edge][1]]:
                saved -= costs.casts[edge]
            else:
                saved, more = saved + costs.casts[edge], more - parts.at_edges[edge]
        if saved > 0 and (error + more).max() <= 1:
            wide[operation] = False
            error = error + more
    return wide
