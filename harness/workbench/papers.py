"""What a package declares and holds, read and judged by the layers' rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.conversion import (
    Audit,
    PrecisionRecipe,
    Sidecar,
    check_contract,
    compare_weights,
    read_sidecar,
)
from harness.errors import ContractError
from harness.layers import audit_check, contract_check, weights_check
from harness.mil import Model
from harness.subjects import Subject
from harness.verdicts import Check, Verdict
from harness.verdicts.rows.packages import PackageAudit, PackageDescription, Rule, Split


def paper_checks(
    package: Path | Model, subject: Subject, audit: Audit | None, labels: Mapping[str, str]
) -> Iterator[Check]:
    """Judge the contract of a package, the precision of its operations, and its constants.

    Constants only where the network says what they must be.

    Args:
        package: its path, or the opened model.
        subject: the single model that it should equal.
        audit: its precision by its recipe; None where nobody says by which it was made.
        labels: of every check.
    """
    error = broken_contract(partial(check_contract, package, subject.network.interface))
    yield contract_check(error, labels)
    yield audit_check(audit, labels)
    if not subject.network.knows_constants:
        return
    found = compare_weights(package, subject.network.constants(subject.model))
    yield weights_check(found, read_sidecar(package), subject.name, subject.fingerprint, labels)


def describe_package(
    subject: str, audit: Audit, recipe: PrecisionRecipe, *, reused: bool = False
) -> PackageDescription:
    """Return the precision map of a package as the report draws it."""
    files = [file for file in audit.package.rglob("*") if file.is_file()]
    counts = {}
    for kind, found in audit.precision_map.items():
        known = {name: found.get(name, 0) for name in ("fp16", "fp32")}
        counts[kind] = Split(**known, other=sum(found.values()) - sum(known.values()))
    return PackageDescription(
        subject=subject,
        recipe=recipe.name,
        gating=recipe.gating,
        source=recipe.source,
        counts=counts,
        rules=tuple(
            Rule(
                rule=", ".join(count.rule.patterns),
                precision=count.rule.decision,
                matched=count.matched,
                optional=count.rule.optional,
            )
            for count in audit.rules
        ),
        size_bytes=sum(file.stat().st_size for file in files),
        audit=PackageAudit(
            verdict=Verdict(audit.verdict),
            reason=audit.reason,
            differences=tuple(str(difference) for difference in audit.differences[:50]),
        ),
        reused=reused,
    )


def with_papers(model: Model, papers: Sidecar, names: Mapping[str, str]) -> Model:
    """Return a model under the papers of another one, of which it has the operations.

    Args:
        model: the one, which may have papers of its own.
        papers: the other's.
        names: for values of the other, what they are called in ``model``; what is not in it is
            left out of the papers.
    """
    modules = {names[name]: path for name, path in papers.modules.items() if name in names}
    found = {
        tap: replace(location, output=names[location.output])
        for tap, location in papers.taps.found.items()
        if location.output in names
    }
    adopted = replace(papers, modules=modules, taps=replace(papers.taps, found=found))
    metadata = {**model.package.metadata, **adopted.to_metadata()}
    return Model(replace(model.package, metadata=metadata), model.plan)


def broken_contract(check: Callable[[], object]) -> ContractError | None:
    """Return the `ContractError` that a check of a package's border raises; None if it holds."""
    try:
        check()
    except ContractError as error:
        return error
    return None
