"""Which operation of a package is wrong, and why: a run explained by executing it once more.

In: a run, and the package that it judged. Out: the decision path of `harness.diagnosis.explain`,
with a three-way diagnosis and a headroom audit of that package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from harness import mil
from harness.diagnosis import ThreeWay, audit_headroom, explain, focus_of, three_way
from harness.diagnosis.failures import failed_checks, says_it_all
from harness.diagnosis.next_steps import ANY_CASE, call_case, counterpart_of
from harness.errors import PackageError, ParityError
from harness.profiles import home_of, usual_cases
from harness.verdicts import Run
from harness.verdicts.rows.packages import Explanation, Step
from harness.workbench.matching import value_places
from harness.workbench.sources import (
    PackageSource,
    Source,
    SubjectSource,
    adapter_of,
    elsewhere,
)

Advance = Callable[[int, int], None]


def diagnose_package(
    package: Path,
    source: Source,
    *,
    numerics: str = "storage",
    recorded: dict[str, torch.Tensor] | None = None,
    expected: str = "storage",
    advance: Advance = lambda done, total: None,
) -> ThreeWay:
    """Return what `harness.diagnosis.three_way` says of a package on one case.

    Args:
        package: the ``.mlpackage``.
        source: what it should compute, and the case.
        numerics: how the executor computes.
        recorded: values that were recorded elsewhere, judged instead of the executor's.
        expected: how it is expected to compute: a device's name, if ``recorded`` is of one.
        advance: called as ``advance(done, total)``.

    Raises:
        ParityError: the package takes or returns something else than the source.
    """
    model = mil.functional(mil.load(package))
    source.check(model)
    inputs = next(iter(source.inputs().values()))
    with source.lab() as lab:
        return three_way(
            lab.base,
            model,
            inputs,
            numerics=numerics,
            capture=recorded,
            expected=expected,
            places=value_places(lab.base, model),
            advance=advance,
        )


def reference_of(
    run: Run, golden_root: Path, package: Path | None = None, judged: Path | None = None
) -> Source:
    """Return what the package that a run judged should compute, on the case that failed first.

    Args:
        run: as it was written.
        golden_root: the golden folder.
        package: the FP32 package, if it isn't where the run had it, or was converted before; of a
            package in an adapter one of its own converter.
        judged: the package that the run judged.

    Raises:
        ContractError: that is in an adapter, and no other one of its converter is given.
        ParityError: the run names neither a subject nor a reference.
    """
    focus = focus_of(run)
    case = focus.get("case", "")
    other = counterpart_of(run)
    if other is not None:
        return PackageSource(package or Path(other.package), (other.given(case),))
    if "subject" not in focus:
        raise ParityError("the run names no subject, so the package has no reference")
    subject, known = focus["subject"], {golden.case for golden in run.goldens}
    case = call_case(run, focus) if case in known else usual_cases(subject, (ANY_CASE,))[0]
    adapter = adapter_of(judged, package)
    if adapter is None:
        return SubjectSource(subject, (case,), home_of(subject, golden_root), package)
    if package is None:
        raise elsewhere(judged)
    signals = SubjectSource(subject, (case,), home_of(subject, golden_root))
    return PackageSource(package, signals=signals, adapter=adapter)


def explain_package(
    run: Run, package: Path, source: Source, *, advance: Advance = lambda done, total: None
) -> Explanation:
    """Return the decision path of a run, with the operation of ``package`` that is at fault.

    Args:
        run: as it was written.
        package: the package that it judged.
        source: what that should compute, as `reference_of` the run.
        advance: called as ``advance(done, total)``.
    """
    first = next(iter(failed_checks(run)), None)
    adapted = isinstance(source, PackageSource) and source.adapter is not None
    told = partial(explain, run, package=str(package), reference=source.name if adapted else "")
    if first is not None and says_it_all(first):
        return told()
    try:
        diagnosis = diagnose_package(package, source, advance=advance)
        headroom = audit_headroom(mil.functional(mil.load(package)), source.inputs())
    except PackageError as error:  # one with loops, say: the run is told as far as it goes
        found = told()
        untold = Step("Which operation, and why?", f"Not told: {error}.", ())
        return replace(found, steps=(*found.steps, untold))
    return told(diagnosis=diagnosis, headroom=headroom)
