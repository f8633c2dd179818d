"""``parity tune --device``: the forms that a device gains by, converted, measured and written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from harness import mil
from harness.conversion import PrecisionRecipe, load_recipe
from harness.devices import Device
from harness.errors import ParityError
from harness.mil import Model, get_numerics
from harness.mil.numerics import Numerics
from harness.mil.numerics.device import device_numerics, device_of
from harness.precision.sensitivity import audible, output_measure, snr_of
from harness.precision.tuning.forms import (
    OTHERWISE,
    SUPPOSITIONS,
    FormSearch,
    FormSearcher,
    FormTrial,
    Levels,
)
from harness.rewriting import forms_source
from harness.subjects import load_subject
from harness.workbench.packages import Packages

Inputs = Mapping[str, Mapping[str, torch.Tensor]]


def search_forms(
    subject: str,
    devices: Sequence[str],
    inputs: Inputs,
    *,
    min_snr_db: float,
    max_more_operations: float,
    report: Callable[[str], None],
    approximate: bool = False,
) -> FormSearch:
    """Search the forms of a subject's network in FP16 that the devices gain by.

    Args:
        subject: a single model.
        devices: profiles, each with settings or without.
        inputs: by case.
        min_snr_db: what every output should have.
        max_more_operations: than the program has, as a part of them.
        report: gets a line for each step.
        approximate: whether forms may be chosen that are not the function that they replace.

    Raises:
        ParityError: no such device, or nothing can be measured.
    """
    units = {name: device_of(name) for name in devices}
    with tempfile.TemporaryDirectory(prefix="parity-forms-") as folder:
        networks = _Networks(Packages(Path(folder), load_subject), subject, inputs, units)
        searcher = FormSearcher(
            networks.count,
            networks.measured,
            max_more_operations,
            report,
            approximate=approximate,
        )
        best = searcher.search()
        plain = searcher.trial(())
        limits = {} if best.worst_db > min_snr_db else searcher.limits(best)
        risks, equal = searcher.risks(best), networks.equal(best)
        asked = tuple(devices), tuple(inputs), min_snr_db, max_more_operations
        return FormSearch(*asked, best, plain, tuple(searcher.trials), limits, risks, equal)


class _Networks:
    """A subject's network in any forms, beside that in FP32 as it was."""

    def __init__(
        self, packages: Packages, subject: str, inputs: Inputs, units: Mapping[str, Device]
    ) -> None:
        self._packages, self._subject = packages, subject
        self._inputs, self._units = inputs, units
        base = mil.load(packages.fp32(subject))
        self._expected = {case: base.run(values) for case, values in inputs.items()}
        measures = [output_measure(output.name) for output in base.outputs]
        self._measures = {case: audible(measures, out) for case, out in self._expected.items()}
        if not any(self._measures.values()):
            raise ParityError(
                f"nothing can be measured: the outputs on {', '.join(inputs)} are silent"
            )
        self._model = cache(self._converted)

    def _converted(self, rewrites: tuple[str, ...]) -> Model:
        recipe = replace(load_recipe("fp16"), rewrites=rewrites)
        return mil.load(self._packages.path(self._subject, recipe))

    def count(self, rewrites: tuple[str, ...]) -> int:
        """Return the number of operations that are no constants."""
        return len(self._model(rewrites).plan.steps)

    def measured(self, rewrites: tuple[str, ...], supposed: tuple[str, ...]) -> Levels:
        """Return SNR by ``DEVICE/CASE/MEASURE`` on devices that do what is ``supposed``."""
        known = {**SUPPOSITIONS, **OTHERWISE}
        other = {key: value for name in supposed for key, value in known[name].items()}
        return {
            f"{name}/{key}": level
            for name, unit in self._units.items()
            for key, level in self._levels(
                self._model(rewrites), device_numerics(unit.supposing(**other))
            ).items()
        }

    def equal(self, best: FormTrial) -> Levels:
        """Return SNR by ``CASE/MEASURE`` of the forms in FP32."""
        model = mil.load(self._packages.fp32(self._subject, best.rewrites))
        return self._levels(model, get_numerics("storage"))

    def _levels(self, model: Model, numerics: Numerics) -> dict[str, float]:
        found = {}
        for case, values in self._inputs.items():
            made = model.run(values, numerics=numerics)
            for measure in self._measures[case]:
                found[f"{case}/{measure.name}"] = snr_of(measure.of(self._expected[case], made))
        return found


def recipe_of(found: FormSearch, name: str, subject: str) -> PrecisionRecipe:
    """Return the recipe of the chosen forms: everything in FP16."""
    more = found.best.operations / found.plain.operations - 1
    return PrecisionRecipe(
        name=name,
        default="fp16",
        subjects=(subject.partition("@")[0],),
        rewrites=found.best.rewrites,
        description=(
            f"{subject} in FP16, written for {', '.join(found.devices)}: worst output predicted at "
            f"{found.best.worst_db:.1f} dB ({found.plain.worst_db:.1f} dB as it was), with "
            f"{100 * more:+.1f} % operations."
        ),
        source=(
            f"parity tune {subject} --device {', '.join(found.devices)} on {', '.join(found.cases)}"
        ),
    )


def passes_source(recipe: PrecisionRecipe) -> str:
    """Return Python source that rewrites in coremltools' pipeline, and needs nothing else."""
    listed = "".join(f"    {name!r},\n" for name in recipe.rewrites)
    return (
        f"{forms_source()}\n\n"
        f"# {recipe.description}\n"
        "# ct.convert(..., pass_pipeline=pass_pipeline(), compute_precision=\n"
        "#     ct.transform.FP16ComputePrecision(op_selector))\n"
        f"REWRITES = (\n{listed})\n\n\n"
        "def pass_pipeline() -> Any:\n"
        '    """Return coremltools\' default pipeline with the passes of `REWRITES` in it."""\n'
        "    import coremltools as ct\n\n"
        "    return insert_into(ct.PassPipeline.DEFAULT, REWRITES)\n\n\n"
        "def op_selector(op: Any) -> bool:\n"
        '    """Return whether ``op`` runs in FP16: every operation does."""\n'
        "    return True\n"
    )
