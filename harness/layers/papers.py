"""What a package declares and holds, judged before anything is executed: the layer ``conversion``.

Its inputs and outputs against the model contract, its program against a fresh conversion, the
precision of every operation against its recipe, and its constants against the tensors of the
subject, number by number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.errors import ContractError
from harness.verdicts import Check, Outcome, bound, failed, gate, not_evaluated

if TYPE_CHECKING:  # what judges needs nothing of what executes and converts
    from harness.conversion import Audit, Sidecar, WeightComparison
    from harness.lint import LintFinding
    from harness.structure import ProgramComparison

_NO_RECIPE = "the package records no recipe: say by which it was made (--recipe)"


def contract_check(error: ContractError | None, labels: Mapping[str, str]) -> Check:
    """Judge the names, shapes and types that a package promises.

    Args:
        error: what `harness.conversion.check_contract` raised; None if it found nothing.
        labels: of the check.
    """
    outcome = bound(0, gate("contract"), what="contract")
    if error is not None:
        outcome = failed(str(error), expected="the model contract", observed="another")
    return _check("contract", outcome, {**labels, "what": "contract"})


def audit_check(audit: Audit | None, labels: Mapping[str, str]) -> Check:
    """Judge the precision of every operation, and how its weights are stored.

    Args:
        audit: of the package by its recipe; None where nobody says by which.
        labels: of the check.
    """
    what = "operations of another precision"
    if audit is None:
        outcome = not_evaluated(_NO_RECIPE)
    elif audit.verdict == "not_evaluated":
        outcome = not_evaluated(audit.reason)
    else:
        outcome = bound(len(audit.differences), gate("audit"), what=what)
        if audit.differences:
            outcome = replace(outcome, reason=audit.reason)
    return _check("audit", outcome, {**labels, "what": what})


def program_check(found: ProgramComparison | None, labels: Mapping[str, str]) -> Check:
    """Judge operations, settings, constants and wiring beside those that the program should have.

    Args:
        found: the program beside a fresh conversion of the subject, or beside a reference; None
            where nobody says by which recipe.
        labels: of the check.
    """
    what = "operations of another program"
    if found is None:
        outcome = not_evaluated(_NO_RECIPE)
    elif found.verdict == "pass":
        outcome = bound(0, gate("program"), what=what)
    elif found.verdict == "not_evaluated":
        outcome = not_evaluated(found.reason)
    else:
        expected = f"the {found.expected_operations} operations of the program that it should be"
        outcome = failed(found.reason, expected=expected, observed=found.reason)
    return _check("program", outcome, {**labels, "what": what})


def lint_check(findings: Sequence[LintFinding], labels: Mapping[str, str]) -> Check:
    """Judge what Core ML would refuse or compute otherwise; warnings are told and gate nothing."""
    errors = [finding for finding in findings if finding.severity.value == "error"]
    what = "errors of the program"
    outcome = bound(len(errors), gate("lint"), what=what)
    if errors:
        outcome = replace(outcome, reason=f"{errors[0].rule}: {errors[0]}")
    return _check("lint", outcome, {**labels, "what": what})


def weights_check(
    found: WeightComparison,
    sidecar: Sidecar | None,
    subject: str,
    fingerprint: str,
    labels: Mapping[str, str],
) -> Check:
    """Judge the constants of a package.

    Args:
        found: the constants beside the tensors of the subject.
        sidecar: of the package: it may say that it was made from other weights.
        subject, fingerprint: name of the subject, and SHA-256 of its weights.
        labels: of the check.
    """
    if found.verdict == "not_evaluated":
        outcome = not_evaluated(found.reason)
    elif found.verdict == "pass":
        outcome = bound(0, gate("weights"), what="tensors that differ")
    else:
        outcome = failed(
            _other_weights(sidecar, fingerprint) + found.reason,
            expected=f"{found.compared} tensors of {subject}",
            observed=f"{len(found.differences)} of {found.compared} tensors differ",
        )
    return _check("weights", outcome, {**labels, "what": "constants"})


def compressed_check(
    wrong: Sequence[str], unknown: Sequence[str], labels: Mapping[str, str]
) -> Check:
    """Judge weights that are stored compressed beside the floats of a reference.

    Args:
        wrong: those that are not what coremltools makes of the reference's.
        unknown: those that are stored in a way of which nobody knows what is right.
        labels: of the check.
    """
    what = "compressed weights"
    outcome = bound(len(wrong), gate("weights"), what=f"number of wrong {what}")
    if wrong:
        reason = f"{len(wrong)} {what} are not those of the reference, first {wrong[0]}"
        outcome = replace(outcome, reason=reason)
    elif unknown:
        outcome = not_evaluated(
            f"it is not known what {len(unknown)} {what} should be, first {unknown[0]}"
        )
    return _check("weights", outcome, {**labels, "what": what})


def _other_weights(sidecar: Sidecar | None, fingerprint: str) -> str:
    recorded = sidecar.facts.get("fingerprint", "") if sidecar else ""
    if recorded in ("", fingerprint):
        return ""
    return (
        f"the package was converted from other weights ({recorded[:12]}) than the subject has "
        f"({fingerprint[:12]}): convert it again; "
    )


def _check(gate_name: str, outcome: Outcome, labels: Mapping[str, str]) -> Check:
    return Check("conversion", dict(labels), True, gate(gate_name), outcome)
