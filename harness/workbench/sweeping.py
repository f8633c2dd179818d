"""What ``parity sweep`` measures: recipes on the cases of sources, by virtual runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from harness.conversion import PrecisionRecipe
from harness.precision.sensitivity import audible, snr_of
from harness.precision.sweep import Cell, Result, content_key
from harness.precision.tuning import fp32_share, operation_costs, weight_bytes
from harness.precision.virtual import VirtualPrecision
from harness.workbench.sources import Source


def sweep_cells(
    sources: Sequence[Source],
    recipes: Mapping[str, PrecisionRecipe],
    numerics: Sequence[str] = ("storage",),
) -> list[Cell]:
    """Return a cell for each source, recipe that is for it, case, and way to compute.

    Args:
        sources: that are stored.
        recipes: by the name that the document has for each.
        numerics: how the executor computes.
    """
    return [
        Cell(source.name, name, case, way, content_key(content, recipe.to_toml(), way))
        for source in sources
        for contents in (source.content(),)
        for name, recipe in recipes.items()
        if source.takes(recipe)
        for case, content in contents.items()
        for way in numerics
    ]


def measure_cell(
    sources: Mapping[str, Source], recipes: Mapping[str, PrecisionRecipe], cell: Cell
) -> Result:
    """Measure a recipe on a case by a virtual run; `run_sweep` calls it in other processes."""
    source = sources[cell.subject]
    lab, costs = _swept(source)
    inputs = source.inputs()[cell.case]
    recipe = recipes[cell.precision]
    choice, weights = lab.by_recipe(recipe), lab.weights_by_recipe(recipe)
    expected = lab.base.run(inputs)
    actual = lab.model(choice, weights).run(inputs, numerics=cell.numerics)
    measures = [m for m in source.measures(lab) if not m.parts]  # without all stems together
    return {
        "fp32_share": fp32_share(costs, choice),
        "weight_bytes": weight_bytes(lab, choice, weights),
        "snr_db": {  # None where nothing differs
            measure.name: snr_of(ratio) if (ratio := measure.of(expected, actual)) else None
            for measure in audible(measures, expected)
        },
    }


@lru_cache(maxsize=2)
def _swept(source: Source) -> tuple[VirtualPrecision, dict[str, float]]:
    with source.lab() as lab:
        return lab, operation_costs(lab.base.plan, "flops")
