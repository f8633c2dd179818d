"""A tuned set of operations as a precision recipe, and as source for coremltools alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from harness.conversion import read_sidecar
from harness.conversion.recipes import Precision, PrecisionRecipe, PrecisionRule
from harness.precision.tuning.goals import Tuning
from harness.precision.virtual.model import VirtualPrecision

REMADE: Final = ("transpose",)
"""Types of operations that passes make anew after precisions were chosen."""


def tuned_recipe(
    lab: VirtualPrecision, tuning: Tuning, *, name: str, subject: str, cases: Sequence[str]
) -> PrecisionRecipe:
    """Return the recipe of the best trial: names of operations, one rule for each type.

    The default is what most operations have, so the list is the shorter one. Operations that
    conversion takes out after their precision was chosen get that of what they read, else there
    would be a rounding where the trial had none.
    """
    best = tuning.best
    if best is None:
        raise ValueError(f"nothing was found: {tuning.limit}")
    wide = set(best.fp32)
    default, listed = ("fp16", "fp32") if 2 * len(wide) < len(lab.operations) else ("fp32", "fp16")
    by_type: dict[str, list[str]] = {}
    for operation in lab.operations:
        if (operation.name in wide) == (listed == "fp32"):
            by_type.setdefault(operation.type, []).append(operation.name)
    sidecar = read_sidecar(lab.base)
    vanished = [
        each.operation.name
        for each in (sidecar.vanished if sidecar else ())
        if bool(wide.intersection(each.reads)) == (listed == "fp32")
    ]
    goal = tuning.goal
    tolerance = "" if goal.rtol is None else f", rtol {goal.rtol:g} and atol {goal.atol:g}"
    unit = "stem" if any("/stem:" in name for name in best.measured_db) else "output"
    scope = "every second of every channel" if goal.every_second else f"every {unit}"
    return PrecisionRecipe(
        name=name,
        default=default,  # type: ignore[arg-type]
        rules=tuple(_rules(listed, by_type, vanished)),  # type: ignore[arg-type]
        subjects=(subject.partition("@")[0],),
        description=(
            f"{subject}: SNR > {goal.min_snr_db:g} dB for {scope}{tolerance}, with "
            f"{100 * best.fp32_share:.1f} % of the {goal.cost} in FP32."
        ),
        source=f"parity tune {subject} on {', '.join(cases)}, margin {goal.margin_db:g} dB",
    )


def _rules(
    listed: Precision, by_type: Mapping[str, Sequence[str]], vanished: Sequence[str]
) -> Iterator[PrecisionRule]:
    for kind, names in sorted(by_type.items()):
        remade = kind in REMADE
        why = "Conversion makes them anew, and may name them otherwise." if remade else ""
        yield PrecisionRule(listed, types=(kind,), names=tuple(names), optional=remade, reason=why)
    if vanished:
        why = "Conversion takes them out once their precision is chosen."
        yield PrecisionRule(listed, names=tuple(vanished), optional=True, reason=why)


def selector_source(recipe: PrecisionRecipe) -> str:
    """Return Python source of an ``op_selector`` that needs nothing but coremltools.

    It tells operations by the values that they make, as the recipe does.
    """
    listed = sorted({name for rule in recipe.rules for name in rule.names})
    names = "".join(f"    {name!r},\n" for name in listed)
    truth = "not in" if recipe.default == "fp16" else "in"
    return (
        f'"""{recipe.description}\n\n'
        "ct.convert(..., compute_precision=ct.transform.FP16ComputePrecision(op_selector))\n"
        '"""\n\n'
        "import re\n\n"
        f"LISTED = frozenset({{\n{names}}})\n\n\n"
        "def op_selector(op):\n"
        '    """Return whether ``op`` runs in FP16."""\n'
        "    name = op.outputs[0].name if len(op.outputs) == 1 else op.name\n"
        '    name = re.sub("[^a-zA-Z0-9_]", "_", name)  # as coremltools will, later on\n'
        '    name = f"_{name}" if name[0].isdigit() else name\n'
        f"    return name {truth} LISTED\n"
    )
