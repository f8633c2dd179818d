"""Which source a user means by the words that were typed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from harness.adapters import adapter_path
from harness.conversion import read_sidecar
from harness.errors import ContractError, ParityError
from harness.profiles import home_of, usual_cases
from harness.subjects import own_networks
from harness.workbench.given import Note, silent
from harness.workbench.sources.base import Source
from harness.workbench.sources.package import PackageSource
from harness.workbench.sources.subject import SubjectSource

PACKAGE_SUFFIXES: Final = (".mlpackage", ".mlmodelc")
_ANY_SUBJECT: Final = "htdemucs_6s"
"""A mixture is the same whatever stems it is counted in."""


def is_package(model: str) -> bool:
    """Return whether the word that somebody typed is a package and no subject."""
    path = Path(model)
    named = path.suffix in PACKAGE_SUFFIXES
    return named or any((path / file).is_file() for file in ("Manifest.json", "model.mil"))


def source_of(
    model: str,
    *,
    golden_root: Path,
    cases: Sequence[str] | None = None,
    given: Sequence[str] | None = None,
    default: Sequence[str] = ("song",),
    package: Path | None = None,
    note: Note = silent,
    subject: str | None = None,
    adapter: Path | None = None,
) -> Source:
    """Return what a user means by a subject or a package, and by cases or files.

    Args:
        model: name of a single model, or path of a package.
        golden_root: the golden folder.
        cases: golden cases; of a package only where it takes what HTDemucs takes.
        given: files of inputs for a package, or ``random:SEED``.
        default: the cases where nothing is said.
        package: the FP32 package of a subject, if it was converted before.
        note: is told of inputs that a conversion changed.
        subject: what a package was converted from: its cases are the package's, in its adapter.
        adapter: of a package; by default the one that lies beside it.

    Raises:
        ParityError: what was given doesn't go together.
    """
    if not is_package(model):
        return _of_subject(
            model, golden_root, cases or usual_cases(model, default), given, package, subject
        )
    if package is not None:
        raise ParityError(f"{model} is a package itself; --fp32-package goes with a subject")
    if given:
        if cases or subject is not None:
            raise ParityError("give --inputs or --case, not both (--subject has the cases)")
        return PackageSource(Path(model), tuple(given), note=note)
    beside = adapter or adapter_of(Path(model))
    if beside is not None and subject is None:
        raise ParityError(
            f"{model} is in another converter's layout ({beside}): say of which model, with "
            "--subject NAME, and its golden cases are given to it; or give --inputs"
        )
    owner = subject or _owner(Path(model))
    signals = _of_subject(owner, golden_root, cases or usual_cases(owner, default))
    return PackageSource(Path(model), signals=signals, note=note, adapter=beside)


def _of_subject(
    name: str,
    golden_root: Path,
    cases: Sequence[str],
    given: Sequence[str] | None = None,
    package: Path | None = None,
    owner: str | None = None,
) -> SubjectSource:
    if given:
        raise ParityError(f"--inputs is for a package; the subject {name} takes --case")
    if owner is not None:
        raise ParityError(
            f"--subject says what a package was converted from, and {name} is no package: leave it "
            "out"
        )
    return SubjectSource(name, tuple(cases), home_of(name, golden_root), package)


def _owner(package: Path) -> str:
    """Return whose inputs a package takes: the declared network's that it records, or any's."""
    sidecar = read_sidecar(package)
    recorded = sidecar.facts.get("subject", "") if sidecar else ""
    return recorded if recorded in own_networks() else _ANY_SUBJECT


def adapter_of(*packages: Path | None) -> Path | None:
    """Return the adapter beside the first of these packages that has one; None if none has."""
    found = (adapter_path(package) for package in packages if package is not None)
    return next((path for path in found if path.exists()), None)


def elsewhere(package: Path | None) -> ContractError:
    """Return why a package in an adapter can't be explained by the subject's own program."""
    return ContractError(
        f"{package} is in another converter's layout, so no operation of it has a counterpart "
        "in a fresh conversion: 'parity diagnose' compares it with the same network in FP32 from "
        "the same converter, with --reference X32.mlpackage beside --subject"
    )


def reference_source(
    subject: str | None,
    reference: Path | None,
    *,
    golden_root: Path,
    cases: Sequence[str] | None = None,
    given: Sequence[str] | None = None,
    note: Note = silent,
    judged: Path | None = None,
) -> Source:
    """Return what a package should compute: a subject, or another package in FP32.

    Args:
        subject: name of a single model; ``reference`` is then its FP32 package, if that is there;
            or one in another converter's layout, that of the judged package.
        reference: path of a package.
        golden_root, cases, given, note: as in `source_of`.
        judged: the package; the adapter beside it, or beside the reference, is that of both.

    Raises:
        ContractError: the package is in an adapter, and has no reference from its own converter.
        ParityError: neither is given, ``reference`` is no package, or what was given doesn't go
            together.
    """
    if subject is None and reference is None:
        raise ParityError(
            "say what the package should compute: --subject NAME, or the same network in FP32 with "
            "its inputs, --reference X.mlpackage --inputs in.safetensors"
        )
    if reference is not None and not is_package(str(reference)):
        raise ParityError(f"--reference {reference} is no .mlpackage or .mlmodelc")
    chosen = partial(source_of, golden_root=golden_root, cases=cases, given=given, note=note)
    if subject is None:
        return chosen(str(reference))
    adapter = adapter_of(judged, reference)
    if adapter is None:
        return chosen(subject, package=reference)
    if reference is None:
        raise elsewhere(judged)
    return chosen(str(reference), subject=subject, adapter=adapter)
