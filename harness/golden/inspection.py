"""What state a golden is in; nothing here changes a file.

`examine` compares the file with the ledger and with what would be made now, and then with the
committed fingerprint.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from harness import origin
from harness.digests import sha256
from harness.errors import GoldenError
from harness.golden.fingerprint import TOLERANCE, largest_difference
from harness.golden.layout import Layout, build_command
from harness.golden.recipes import Case
from harness.golden.records import Entry, Key, Record, read_ledger, read_manifest
from harness.golden.status import Finding, GoldenStatus
from harness.golden.tensorfile import read_provenance

DECISIVE: Final = ("torch", "demucs", "numpy", "harness")
"""What computes the signals and the tensors: another version of one makes a local golden stale.
The others are written down to explain a drift."""


def current_versions() -> dict[str, str]:
    """Return the versions of what is installed, without importing it, and the machine's kind."""
    found = origin.versions()
    kept = {name: found[name] for name in (*DECISIVE, "python")}
    return kept | {"platform": f"{platform.system()} {platform.machine()}"}


def examine(
    layout: Layout,
    subject: str,
    weights: str | None,
    case: Case,
    versions: Mapping[str, str],
    *,
    deep: bool,
) -> tuple[Finding, Record | None]:
    """Return the state of a golden, and how it was made where the file is sound.

    Args:
        layout: the store.
        subject: its name.
        weights: its fingerprint, or None not to compare weights.
        case: the recipe as it is now.
        versions: what would compute the tensors now.
        deep: hash the file; otherwise only its size is compared.

    Raises:
        GoldenError: the ledger or the manifest can't be read.
    """
    key = (subject, case.name)
    while True:
        entry = read_ledger(layout.ledger).get(key, Entry())
        found = _match_file(layout, subject, case.name, entry, deep=deep)
        # Another process may have replaced the file since the ledger was read.
        if isinstance(found, Record) or entry == read_ledger(layout.ledger).get(key, Entry()):
            break
    if isinstance(found, Finding):
        return found, None
    changes = _changed_origin(found, case.hash, weights, "now")
    changes += _changed_versions(found.versions, versions)
    if changes:
        reason = "made from " + ", ".join(changes)
        step = f"build it again: {build_command(subject, case.name)}"
        return Finding(subject, case.name, GoldenStatus.STALE, reason, step), None
    return _compare_with_manifest(layout, subject, case, found), found


def _match_file(
    layout: Layout, subject: str, case: str, entry: Entry, *, deep: bool
) -> Finding | Record:
    """Return which of the ledger's records the file is."""
    path = layout.tensors(subject, case)
    again = f"build it: {build_command(subject, case)}"
    known = [record for record in (entry.current, entry.pending) if record is not None]
    try:
        size = path.stat().st_size
        if entry.current is not None and entry.pending is None and not deep:
            digest = entry.current.sha256 if size == entry.current.size_bytes else ""
        else:
            digest = sha256(path) if known else ""
    except FileNotFoundError:
        if entry.current is None:
            return Finding(subject, case, GoldenStatus.NOT_BUILT, "it was never built here", again)
        reason = f"it was built here on {entry.current.built_at}, but {path} is gone"
        return Finding(subject, case, GoldenStatus.MISSING, reason, again)
    except OSError as error:
        raise GoldenError(f"{path} can't be read ({error.strerror}); make it readable") from error
    if not known:
        reason = f"{path} is there, but this machine's ledger doesn't know it"
        return Finding(subject, case, GoldenStatus.NOT_BUILT, reason, again)
    for record in known:
        if record.sha256 == digest:
            return record
    how = _how_corrupt(path, (subject, case), size, known[0])
    reason = f"{path} is not the file that was written: {how}"
    step = f"find out what changed it, then {again}"
    return Finding(subject, case, GoldenStatus.CORRUPT, reason, step)


def _how_corrupt(path: Path, key: Key, size: int, expected: Record) -> str:
    try:
        provenance = read_provenance(path)
    except GoldenError:
        provenance = {}
    owner = (provenance.get("subject"), provenance.get("case"))
    if None not in owner and owner != key:
        return f"it is the golden {owner[1]!r} of {owner[0]!r}"
    if size != expected.size_bytes:
        return f"it has {size} bytes, expected {expected.size_bytes}"
    return f"its SHA-256 is not {expected.sha256[:12]}..."


def _changed_origin(record: Record, recipe: str, weights: str | None, when: str) -> list[str]:
    """Return a phrase for another recipe and for other weights, unless these are not known."""
    changes = []
    if record.recipe != recipe:
        changes.append(f"recipe {record.recipe[:12]} ({when} {recipe[:12]})")
    if weights is not None and record.subject_fingerprint != weights:
        changes.append(f"weights {record.subject_fingerprint[:12]} ({when} {weights[:12]})")
    return changes


def _compare_with_manifest(layout: Layout, subject: str, case: Case, record: Record) -> Finding:
    committed = read_manifest(layout.manifest).get((subject, case.name))
    accept = build_command(subject, case.name, "--record")
    if committed is None:
        reason = f"{layout.manifest.name} has no fingerprint of it"
        step = f"record it: {accept}"
        return Finding(subject, case.name, GoldenStatus.UNRECORDED, reason, step)
    other = _changed_origin(committed, record.recipe, record.subject_fingerprint, "here")
    if other:
        reason = f"the fingerprint in {layout.manifest.name} is of another " + " and ".join(other)
        step = f"if the change is meant, accept it: {accept}"
        return Finding(subject, case.name, GoldenStatus.STALE, reason, step)
    difference = largest_difference(committed.tensors, record.tensors)
    if difference is not None and difference.relative > TOLERANCE:
        versions = ", ".join(_changed_versions(committed.versions, record.versions))
        made_with = ", ".join(f"{name} {had}" for name, had in sorted(committed.versions.items()))
        reason = f"{difference.text}, allowed is {TOLERANCE:g}; recorded with {made_with}"
        reason += f", versions that differ: {versions}" if versions else ""
        step = f"if the change is meant, accept it: {accept}"
        return Finding(subject, case.name, GoldenStatus.DRIFT, reason, step)
    observed = 0.0 if difference is None else difference.relative
    reason = f"within {observed:.1g} of the committed fingerprint"
    return Finding(subject, case.name, GoldenStatus.MATCH, reason)


def _changed_versions(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return one phrase for each decisive version that differs; builds of one version are equal."""
    return [
        f"{name} {then.get(name, 'unknown')} (now {now.get(name, 'unknown')})"
        for name in DECISIVE
        if _public(then.get(name)) != _public(now.get(name))
    ]


def _public(version: str | None) -> str | None:
    return version.partition("+")[0] if version is not None else None
