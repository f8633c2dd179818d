"""Which source a user means by the words that were typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from harness.conversion import read_sidecar
from harness.errors import ParityError
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
    return Path(model).suffix in PACKAGE_SUFFIXES


def source_of(
    model: str,
    *,
    golden_root: Path,
    cases: Sequence[str] | None = None,
    given: Sequence[str] | None = None,
    default: Sequence[str] = ("song",),
    package: Path | None = None,
    note: Note = silent,
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

    Raises:
        ParityError: what was given doesn't go together.
    """
    subject = _owner(Path(model)) if is_package(model) and not given else model
    names = tuple(cases or usual_cases(subject, default))
    signals = SubjectSource(subject, names, home_of(subject, golden_root), package)
    if not is_package(model):
        if given:
            raise ParityError(f"--inputs is for a package; the subject {model} takes --case")
        return signals
    if package is not None:
        raise ParityError(f"{model} is a package itself; --fp32-package goes with a subject")
    if not given:
        return PackageSource(Path(model), signals=signals, note=note)
    if cases:
        raise ParityError("give --inputs or --case, not both")
    return PackageSource(Path(model), tuple(given), note=note)


def _owner(package: Path) -> str:
    """Return whose inputs a package takes: the declared network's that it records, or any's."""
    sidecar = read_sidecar(package)
    recorded = sidecar.facts.get("subject", "") if sidecar else ""
    return recorded if recorded in own_networks() else _ANY_SUBJECT


def reference_source(
    subject: str | None,
    reference: Path | None,
    *,
    golden_root: Path,
    cases: Sequence[str] | None = None,
    given: Sequence[str] | None = None,
    note: Note = silent,
) -> Source:
    """Return what a package should compute: a subject, or another package in FP32.

    Args:
        subject: name of a single model; ``reference`` is then its FP32 package, if that is there.
        reference: path of a package.
        golden_root, cases, given, note: as in `source_of`.

    Raises:
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
    name = str(reference) if subject is None else subject
    package = None if subject is None else reference
    return source_of(
        name, golden_root=golden_root, cases=cases, given=given, package=package, note=note
    )
