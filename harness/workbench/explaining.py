"""Which operation of a package is wrong, and why: a run explained by executing it once more.

In: a run, and the package that it judged. Out: the decision path of `harness.diagnosis.explain`,
with a three-way diagnosis and a headroom audit of that package.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from harness import mil
from harness.conversion import check_contract
from harness.diagnosis import ThreeWay, audit_headroom, explain, focus_of, three_way
from harness.diagnosis.failures import failed_checks, says_it_all
from harness.errors import ParityError
from harness.profiles import usual_cases
from harness.subjects import describe_subject
from harness.verdicts import Run
from harness.verdicts.rows.packages import Explanation
from harness.workbench.lab import lab_inputs, open_lab

Advance = Callable[[int, int], None]
ANY_CASE = "song"
"""Where the run failed on an audio file, or on none: music shows most."""


def diagnose_package(
    package: Path,
    subject: str,
    case: str,
    golden_root: Path,
    *,
    numerics: str = "storage",
    recorded: dict[str, torch.Tensor] | None = None,
    reference: Path | None = None,
    advance: Advance = lambda done, total: None,
) -> ThreeWay:
    """Return what `harness.diagnosis.three_way` says of a package on one case.

    Args:
        package: the ``.mlpackage``.
        subject: the single model that it was converted from.
        case: a golden case, or ``song:SEED``.
        golden_root: the golden folder.
        numerics: how the executor computes.
        recorded: values that were recorded elsewhere, judged instead of the executor's.
        reference: the subject's FP32 package; None converts one.
        advance: called as ``advance(done, total)``.

    Raises:
        ParityError: the package is not one of the subject.
    """
    model = mil.functional(mil.load(package))
    check_contract(model, describe_subject(subject).interface)
    inputs = lab_inputs(subject, [case], golden_root)[case]
    with open_lab(subject, reference) as lab:
        return three_way(
            lab.base, model, inputs, numerics=numerics, capture=recorded, advance=advance
        )


def explain_package(
    run: Run,
    package: Path,
    golden_root: Path,
    *,
    reference: Path | None = None,
    advance: Advance = lambda done, total: None,
) -> Explanation:
    """Return the decision path of a run, with the operation of ``package`` that is at fault.

    Raises:
        ParityError: the run names no subject, so the package has no reference.
    """
    focus = focus_of(run)
    if "subject" not in focus:
        raise ParityError(f"the run names no subject, so {package} has no reference")
    first = next(iter(failed_checks(run)), None)
    if first is not None and says_it_all(first):
        return explain(run, package=str(package))
    subject, case = focus["subject"], focus.get("case", ANY_CASE)
    known = {golden.case for golden in run.goldens}
    case = case if case in known else usual_cases(subject, (ANY_CASE,))[0]
    diagnosis = diagnose_package(
        package, subject, case, golden_root, reference=reference, advance=advance
    )
    headroom = audit_headroom(
        mil.functional(mil.load(package)), lab_inputs(subject, [case], golden_root)
    )
    return explain(run, package=str(package), diagnosis=diagnosis, headroom=headroom)
