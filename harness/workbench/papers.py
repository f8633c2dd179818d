"""What a package declares and holds, read and judged by the layers' rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.conversion import (
    PrecisionRecipe,
    audit_package,
    check_contract,
    compare_weights,
    read_sidecar,
)
from harness.errors import ContractError
from harness.layers import audit_check, contract_check, weights_check
from harness.mil import Model
from harness.subjects import Subject
from harness.verdicts import Check


def paper_checks(
    package: Path | Model,
    subject: Subject,
    recipe: PrecisionRecipe | None,
    labels: Mapping[str, str],
) -> Iterator[Check]:
    """Judge the contract of a package, the precision of its operations, and its constants.

    Args:
        package: its path, or the opened model.
        subject: the single model that it should equal.
        recipe: the precision that it should have; None where nobody says.
        labels: of every check.
    """
    yield contract_check(_contract_error(package, len(subject.sources)), labels)
    yield audit_check(audit_package(package, recipe) if recipe else None, labels)
    found = compare_weights(package, subject.model)
    yield weights_check(found, read_sidecar(package), subject.name, subject.fingerprint, labels)


def _contract_error(package: Path | Model, sources: int) -> ContractError | None:
    try:
        check_contract(package, sources)
    except ContractError as error:
        return error
    return None
