"""Many measurements that survive a kill: recipes by subjects by cases.

In: cells, each with a key that is a hash of everything that decides its result, and a function that
measures one. Out: a document that depends on the cells alone. Each result is a file that appears
whole or not at all, written by the process that measured it, so a sweep that was killed goes on
where it stopped and gives the same document as one that wasn't.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from harness.atomic import write_text
from harness.origin import versions
from harness.workers import worker_pool

KIND: Final = "sweep"
VERSION: Final = 2
Result: TypeAlias = dict[str, Any]
"""What is measured in a cell: plain JSON data."""


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Attributes:
        subject: name of the model.
        precision: name of the recipe.
        case: name of the input.
        numerics: how the executor computes.
        key: SHA-256, as hex, of all that decides the result; see `content_key`.
    """

    subject: str
    precision: str
    case: str
    numerics: str
    key: str


def content_key(*parts: str) -> str:
    """Return a hash of texts, each told apart from its neighbours, and of what works with them."""
    made_by = sorted(versions().items())
    return hashlib.sha256(json.dumps([VERSION, made_by, *parts]).encode()).hexdigest()


def run_sweep(
    cells: Sequence[Cell],
    measure: Callable[[Cell], Result],
    cache: Path,
    *,
    workers: int = 1,
    advance: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure what ``cache`` doesn't have, and return the document of all cells.

    Args:
        cells: in the order of the document.
        measure: of the top level of a module, or a `functools.partial` of one: other processes
            call it. What it returns must depend on the cell alone.
        cache: a folder of results, one file for each key.
        workers: processes; 1 measures in this one.
        advance: called as ``advance(done, total)``.

    Raises:
        Whatever ``measure`` raises; results that were there by then are kept.
    """
    missing = [cell for cell in cells if _stored(cache, cell) is None]
    done = len(cells) - len(missing)
    for _ in _measured(missing, partial(_measure, measure, cache), workers):
        done += 1
        if advance is not None:
            advance(done, len(cells))
    return document(cells, {cell.key: _stored(cache, cell) or {} for cell in cells})


def _measured(
    missing: Sequence[Cell], measure: Callable[[Cell], None], workers: int
) -> Iterator[None]:
    """Measure cells and yield after each one."""
    if workers == 1 or len(missing) < 2:
        yield from map(measure, missing)
        return
    with worker_pool(workers) as pool:
        work = [pool.submit(measure, cell) for cell in missing]
        try:
            for future in as_completed(work):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def document(cells: Sequence[Cell], results: Mapping[str, Result]) -> dict[str, Any]:
    """Return the document of a sweep: plain JSON data, with its kind and version."""
    rows = [{**asdict(cell), **results[cell.key]} for cell in cells]
    return {"kind": KIND, "version": VERSION, "cells": rows}


def _measure(measure: Callable[[Cell], Result], cache: Path, cell: Cell) -> None:
    result = measure(cell)
    write_text(_file(cache, cell), json.dumps(result, sort_keys=True) + "\n")


def _stored(cache: Path, cell: Cell) -> Result | None:
    """Return the result of ``cell``; None if there is none, or none that can be read."""
    try:
        found = json.loads(_file(cache, cell).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _file(cache: Path, cell: Cell) -> Path:
    return cache / f"{cell.key}.json"
