"""What ``import harness`` gives: open a package, compare, check, and ask what FP16 costs.

Each function does what the command of its name does, on values instead of files: the same rooms
judge, by the same gates. Progress is told to nobody, and nothing is printed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from harness import mil
from harness.conversion import load_recipe
from harness.defaults import EXTREMES
from harness.errors import ParityError
from harness.origin import provenance
from harness.places import GOLDEN_ROOT
from harness.precision.sensitivity import Probing, Sensitivity
from harness.profiles import home_of, usual_cases
from harness.verdicts import Gate, Outcome, Run, Verdict, gate
from harness.verdicts import compare as compare_arrays
from harness.verdicts.display import headline, table
from harness.workbench import Workbench, check_package
from harness.workbench.check import LAYERS, Inquiry
from harness.workbench.sources import source_of

Arrays: TypeAlias = npt.ArrayLike | Mapping[str, npt.ArrayLike]


@dataclass(frozen=True, repr=False)
class Comparison:
    """What was found of each tensor.

    Attributes:
        outcomes: by name; one array alone has the name ``""``.
        gate: that judged all of them.
    """

    outcomes: Mapping[str, Outcome]
    gate: Gate

    @property
    def verdict(self) -> Verdict:
        """Fail if any tensor fails."""
        failed = any(row.verdict is not Verdict.PASS for row in self.outcomes.values())
        return Verdict.FAIL if failed else Verdict.PASS

    @property
    def snr_db(self) -> dict[str, float]:
        """The SNR of each tensor that has one: ``inf`` where nothing differs."""
        levels = {name: row.metrics.get("snr_db") for name, row in self.outcomes.items()}
        return {name: float(level) for name, level in levels.items() if level is not None}

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASS

    def __repr__(self) -> str:
        told = "; ".join(f"{name or 'array'}: {row.reason}" for name, row in self._ranked()[:3])
        more = f"; and {len(self.outcomes) - 3} more" if len(self.outcomes) > 3 else ""
        return f"<Comparison {self.verdict.value}, {self.gate.describe()}: {told}{more}>"

    def _repr_html_(self) -> str:
        rows = [
            (name or "array", row.verdict.value, row.observed, row.reason)
            for name, row in self._ranked()
        ]
        columns = ("tensor", "verdict", "observed", "reason")
        return headline(self.verdict.value, self.gate.describe()) + table(columns, rows)

    def _ranked(self) -> list[tuple[str, Outcome]]:
        """Return what failed before what did not."""
        return sorted(self.outcomes.items(), key=lambda row: row[1].verdict is Verdict.PASS)


def load(path: str | Path, *, function: str | None = None) -> mil.Model:
    """Open the ``.mlpackage`` or ``.mlmodelc`` at ``path``; see `harness.mil.load`."""
    return mil.load(path, function=function)


def compare(
    expected: Arrays,
    actual: Arrays,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    min_snr_db: float | None = None,
) -> Comparison:
    """Compare arrays, or mappings of arrays by name, in float64; nothing is broadcast or cast.

    Args:
        expected: the reference: an array, or arrays by name.
        actual: the candidate, of the same names, shapes and types.
        rtol, atol: of every element; both or neither.
        min_snr_db: that each tensor must exceed. With none of the three, the gate of conversion
            judges: rtol 1e-3, atol 1e-4 and 60 dB.

    Raises:
        ParityError: other names, nothing to compare, or half a tolerance.
    """
    given = (rtol, atol, min_snr_db) != (None, None, None)
    bounds = (
        Gate("given", "given by the caller", rtol, atol, min_snr_db)
        if given
        else gate("conversion")
    )
    left, right = _named(expected), _named(actual)
    if left.keys() != right.keys() or not left:
        raise ParityError(
            f"the reference has the tensors {', '.join(sorted(left)) or 'none'}, the candidate "
            f"{', '.join(sorted(right)) or 'none'}; expected the same names, and at least one"
        )
    return Comparison(
        {name: compare_arrays(left[name], right[name], bounds) for name in left}, bounds
    )


def check(
    package: str | Path,
    subject: str,
    *,
    cases: Sequence[str] | None = None,
    audio: str | Path | None = None,
    recipe: str | None = None,
    layers: Sequence[str] = LAYERS,
    golden_root: Path = GOLDEN_ROOT,
) -> Run:
    """Judge a package as ``parity check`` does, and return the run.

    Args:
        package: the ``.mlpackage``.
        subject: ``NAME``, ``NAME@seeded`` or ``NAME@PATH``: what it was converted from.
        cases: golden cases; those that are not there are built. By default those of ``parity
            check``: `harness.defaults.EXTREMES`, or all of one segment that a declaration has.
        audio: an audio file instead.
        recipe: the recipe that it was made by, if it doesn't say.
        layers: ``conversion``, ``end_to_end``, or both.
        golden_root: the folder with ``recipes.toml``.

    Raises:
        ParityError: the package, the audio or a golden can't be read, or the subject is a bag.
    """
    inquiry = Inquiry(
        package=Path(package),
        subject=subject,
        cases=tuple(cases or usual_cases(subject, EXTREMES)),
        recipe=None if recipe is None else load_recipe(recipe),
        audio=None if audio is None else Path(audio),
        layers=tuple(layers),
    )
    with tempfile.TemporaryDirectory(prefix="parity-check-") as scratch:
        bench = Workbench(home_of(subject, golden_root), Path(scratch))
        return check_package(bench, inquiry, lambda *_: None).finish(provenance(["harness.check"]))


def sensitivity(
    subject: str,
    *,
    precision: str = "fp16",
    cases: Sequence[str] | None = None,
    probes: int = 8,
    package: str | Path | None = None,
    golden_root: Path = GOLDEN_ROOT,
) -> Sensitivity:
    """Return each operation's share of the output error, as ``parity sensitivity`` measures it.

    Args:
        subject: a single model.
        precision: the recipe whose operations in FP16 are looked at.
        cases: golden cases, or ``song:SEED``; by default ``song``, or those of a declaration.
        probes: random probes for each measure.
        package: the subject's FP32 package; converted if none is given.
        golden_root: the folder with ``recipes.toml``.

    Raises:
        ParityError: the subject is a bag, or there is no such case or recipe.
    """
    recipe = load_recipe(precision)
    source = source_of(
        subject,
        golden_root=golden_root,
        cases=cases,
        package=None if package is None else Path(package),
    )
    inputs = source.inputs()
    with source.lab() as lab:
        return source.sensitivity(lab, inputs, recipe, Probing(probes=probes))


def _named(arrays: Arrays) -> dict[str, np.ndarray]:
    if isinstance(arrays, Mapping):
        return {name: np.asarray(array) for name, array in arrays.items()}
    return {"": np.asarray(arrays)}
