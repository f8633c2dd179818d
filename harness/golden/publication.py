"""Putting a golden in its place: the only code that writes to a store.

Two files change when a golden is built, its tensors and the ledger, and a kill may fall between
them. So the ledger first announces the file that is to come (``pending``), then the file is renamed
into place, then the ledger confirms it (``current``). A reader takes the record whose SHA-256 the
file has: before the rename the old one, after it the new one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Container, Mapping
from datetime import datetime, timezone
from typing import Any, Protocol

import numpy.typing as npt

from harness.atomic import atomic_file
from harness.digests import sha256
from harness.errors import GoldenError
from harness.golden.fingerprint import fingerprint
from harness.golden.layout import Layout, build_command, file_stem
from harness.golden.recipes import Case
from harness.golden.records import (
    FORMAT,
    Entry,
    Record,
    read_ledger,
    read_manifest,
    write_ledger,
    write_manifest,
)
from harness.golden.tensorfile import write_tensors


class SubjectLike(Protocol):
    """What the store needs to know of a subject."""

    @property
    def name(self) -> str:
        """The name that the subject was asked for with."""
        ...

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of its weights."""
        ...


def publish(
    layout: Layout,
    subject: SubjectLike,
    case: Case,
    tensors: Mapping[str, npt.NDArray[Any]],
    *,
    versions: Mapping[str, str],
    started: float,
) -> None:
    """Store a golden and enter it in the ledger; its lock must be held.

    Args:
        layout: the store.
        subject, case: where the tensors come from; it travels in the metadata of their file.
        tensors: arrays by name.
        versions: of what computed them.
        started: `time.monotonic` when building began.

    Raises:
        GoldenError: the tensors can't be a golden, or can't be stored; the old file stays.
    """
    if not tensors:
        raise GoldenError(f"golden {case.name!r} of {subject.name!r} was built without tensors")
    prints = {name: fingerprint(name, tensors[name]) for name in sorted(tensors)}
    key = (subject.name, case.name)
    origin: dict[str, Any] = {
        "recipe": case.hash,
        "subject_fingerprint": subject.fingerprint,
        "versions": versions,
        "seed": case.seed,
    }
    path = layout.tensors(*key)
    try:
        with atomic_file(path) as temporary:
            provenance = {"format": FORMAT, "subject": subject.name, "case": case.name, **origin}
            write_tensors(temporary, tensors, provenance)
            record = Record(
                sha256=sha256(temporary),
                size_bytes=temporary.stat().st_size,
                **origin,
                command=build_command(*key),
                tensors=prints,
                built_at=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
                build_s=round(time.monotonic() - started, 3),
            )
            current = read_ledger(layout.ledger).get(key, Entry()).current
            _enter(layout, key, Entry(current, pending=record))
        _enter(layout, key, Entry(record))
    except OSError as error:
        size = sum(tensor.nbytes for tensor in tensors.values())
        raise _cannot_store(layout, key, size, error) from error


def settle(layout: Layout, subject: str, case: str) -> None:
    """Decide an announcement that a kill left behind; the golden's lock must be held.

    Without this, announcing a third file would hide that the second one is in place.
    """
    key = (subject, case)
    entry = read_ledger(layout.ledger).get(key, Entry())
    if entry.pending is None:
        return
    path = layout.tensors(*key)
    arrived = path.exists() and sha256(path) == entry.pending.sha256
    _enter(layout, key, Entry(entry.pending if arrived else entry.current))


def accept(layout: Layout, subject: str, case: str, *, keep: Container[str]) -> None:
    """Copy a golden's record from the ledger to the manifest; its lock must be held.

    Args:
        layout: the store.
        subject: name of the subject.
        case: name of the case.
        keep: the cases that exist; records of others are dropped.

    Raises:
        GoldenError: the subject's name means nothing on other machines, or the manifest is that
            of an installed package.
    """
    if file_stem(subject) != subject:
        raise GoldenError(
            f"the goldens of {subject!r} can't be recorded in {layout.manifest}, because its name "
            "is a path of this machine; record those of a subject with a name of its own"
        )
    if layout.is_installed:
        raise GoldenError(
            f"{layout.manifest} belongs to the installed package, so nothing is recorded in it; "
            "copy its folder and give that as --golden-root, or record in a clone"
        )
    record = read_ledger(layout.ledger)[subject, case].current
    if record is None:
        raise GoldenError(f"golden {case!r} of {subject!r} was not built, so it can't be recorded")
    with layout.lock_document(layout.manifest):
        records = {
            key: known for key, known in read_manifest(layout.manifest).items() if key[1] in keep
        }
        try:
            write_manifest(layout.manifest, {**records, (subject, case): record})
        except OSError as error:
            raise GoldenError(
                f"{layout.manifest} can't be written ({error}) and was left as it was: make room, "
                f"or make it writable, and run {build_command(subject, case, '--record')}"
            ) from error


def _enter(layout: Layout, key: tuple[str, str], entry: Entry) -> None:
    with layout.lock_document(layout.ledger):
        write_ledger(layout.ledger, {**read_ledger(layout.ledger), key: entry})


def _cannot_store(
    layout: Layout, key: tuple[str, str], size_bytes: int, error: OSError
) -> GoldenError:
    free_bytes = shutil.disk_usage(layout.generated).free
    return GoldenError(
        f"golden {key[1]!r} of {key[0]!r} can't be stored ({error}): it takes "
        f"{size_bytes / 1e6:.0f} MB and the disk of {layout.generated} has "
        f"{free_bytes / 1e6:.0f} MB free; make room and build it again (an older one was left as "
        "it was)"
    )
