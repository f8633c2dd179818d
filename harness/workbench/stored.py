"""Goldens, packages and results in a store that machines share.

What decides a thing's content (weights, recipe, case, versions, code) is hashed to its key, so that
the store gives to each machine what it would make itself. Fetching comes before making, and what
was made is kept for the next; where there is no store, everything is made here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from safetensors.numpy import save

from harness.arrayfiles import ARRAYS_LIMIT_BYTES, FOREIGN, open_safetensors
from harness.errors import StoreError
from harness.golden import Case
from harness.golden.builder import build_tensors
from harness.golden.inspection import current_versions
from harness.precision.sweep import Cell, FolderOfResults, Result, content_key, result_text
from harness.store import Store, unpack_folder
from harness.subjects import Subject

GOLDEN_ROOMS = ("golden", "subjects", "audio")
"""The rooms whose code decides what is in a golden."""


@dataclass(frozen=True)
class StoredGoldens:
    """Builds goldens as `build_tensors` does, or takes what another machine built."""

    store: Store

    def __call__(self, subject: Subject, case: Case) -> Mapping[str, npt.NDArray[Any]]:
        """Return the tensors of a case, by name."""
        made_by = json.dumps(current_versions(), sort_keys=True)
        key = content_key(
            "golden", subject.name, subject.fingerprint, case.hash, made_by, rooms=GOLDEN_ROOMS
        )
        found = self.store.find("goldens", key)
        if found is None:
            tensors = build_tensors(subject, case)
            self.store.keep("goldens", key, save(dict(tensors)))
            return tensors
        try:
            with open_safetensors(found, ARRAYS_LIMIT_BYTES, StoreError) as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FOREIGN as error:
            raise StoreError(f"the golden {key} of {self.store.url} is no safetensors") from error


@dataclass(frozen=True)
class StoredResults:
    """Results of a sweep: in a folder of this machine, and in a store."""

    store: Store
    folder: FolderOfResults

    def get(self, cell: Cell) -> Result | None:
        """Return the result of ``cell``; None if neither place has it."""
        here = self.folder.get(cell)
        if here is not None:
            if not self.store.has("results", cell.key):  # it could not be sent when it was made
                self.put(cell, here)
            return here
        found = self.store.find("results", cell.key)
        if found is None:
            return None
        try:
            result: Result = json.loads(found.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StoreError(f"the result {cell.key} of {self.store.url} is no JSON") from error
        self.folder.put(cell, result)
        return result

    def put(self, cell: Cell, result: Result) -> None:
        """Keep the result of ``cell`` in both places, here first."""
        self.folder.put(cell, result)
        self.store.keep("results", cell.key, result_text(result).encode())


def fetched(store: Store, key: str, target: Path) -> bool:
    """Unpack a package of ``store`` to ``target``, and return whether it has one."""
    found = store.find("packages", key)
    if found is not None:
        unpack_folder(found, target)
    return found is not None


def fetched_package(store: Store, key: str) -> Path:
    """Return where a package of ``store`` is on this machine; fetched if it isn't.

    Raises:
        StoreError: the store has no such package.
    """
    here = store.cache / "packages" / f"{key}.mlpackage"
    if not here.exists() and not fetched(store, key, here):
        raise StoreError(f"the store {store.url} has no package {key}")
    return here
