"""Many measurements that survive kills: recipes by subjects by cases.

In: cells, each with a key that is a hash of everything that decides its result, a function that
measures one, and where results are kept. Out: a document that depends on the cells alone, whoever
measured them, in whatever order, however often something died on the way. Each result is kept whole
or not at all by the process that measured it, and looked for before anything is measured, so what
was finished is not measured again.

A `Shard` is every so-many-th cell, for machines that know nothing of each other; its document says
which part of which sweep it is, and `merge` makes of all parts the document of a single run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from harness.atomic import write_text
from harness.errors import ParityError
from harness.origin import source_hash, versions
from harness.precision.executors import Opener, local

KIND: Final = "sweep"
VERSION: Final = 2
MOST_BREAKS: Final = 3
"""How often workers may die, one time after the other, without a single cell getting done."""
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


@dataclass(frozen=True)
class Shard:
    """A part of a sweep: the cells at the places ``index - 1``, ``index - 1 + of``, ...

    Raises:
        ParityError: there is no such part.
    """

    index: int = 1
    of: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.of:
            raise ParityError(
                f"there is no shard {self.index}/{self.of}; expected K/N with 1 <= K <= N"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that ``K/N`` names."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None:
            raise ParityError(f"{text!r} is no shard; expected K/N, such as 3/12")
        return cls(int(found[1]), int(found[2]))

    def part(self, cells: Sequence[Any]) -> Sequence[Any]:
        """Return its part of ``cells``."""
        return cells[self.index - 1 :: self.of]


class Results(Protocol):
    """Where results are kept; workers get a copy, so it can be pickled."""

    def get(self, cell: Cell) -> Result | None:
        """Return the result of ``cell``; None if there is none that can be read."""

    def put(self, cell: Cell, result: Result) -> None:
        """Keep the result of ``cell``, whole or not at all."""


@dataclass(frozen=True)
class FolderOfResults:
    """Results in a folder, one file for each key."""

    folder: Path

    def get(self, cell: Cell) -> Result | None:
        """Return the result of ``cell``; None if there is none, or none that can be read."""
        try:
            found = json.loads(self._file(cell).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, cell: Cell, result: Result) -> None:
        """Write the file of ``cell``."""
        write_text(self._file(cell), result_text(result))

    def _file(self, cell: Cell) -> Path:
        return self.folder / f"{cell.key}.json"


def result_text(result: Result) -> str:
    """Return a result as it is kept: the same result always has the same bytes."""
    return json.dumps(result, sort_keys=True) + "\n"


def content_key(*parts: str, rooms: tuple[str, ...] = ()) -> str:
    """Return a hash of texts, each told apart from its neighbours, and of what works with them.

    Args:
        parts: what decides a result beside the code.
        rooms: the packages of the harness whose code makes it; all by default.
    """
    made_by = [*sorted(versions().items()), source_hash(*rooms)]
    return hashlib.sha256(json.dumps([VERSION, made_by, *parts]).encode()).hexdigest()


def run_sweep(
    cells: Sequence[Cell],
    measure: Callable[[Cell], Result],
    results: Results,
    *,
    executor: Opener | None = None,
    shard: Shard | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure what ``results`` doesn't have, and return the document of all cells.

    Args:
        cells: of the whole sweep, in the order of the document.
        measure: of the top level of a module, or a `functools.partial` of one: other processes
            call it. What it returns must depend on the cell alone.
        results: where they are kept.
        executor: opens what computes; by default this process does.
        shard: the part that is measured here; by default all.
        advance: called as ``advance(done, total)``, at the beginning and after each cell.

    Raises:
        ParityError: workers keep dying, or the executor was lost.
        Whatever ``measure`` raises; results that were there by then are kept.
    """
    mine = list((shard or Shard()).part(cells))
    found = {cell.key: results.get(cell) for cell in mine}
    unique = {cell.key: cell for cell in mine}
    missing = [cell for key, cell in unique.items() if found[key] is None]
    tell = advance or (lambda done, total: None)
    tell(len(unique) - len(missing), len(unique))
    work = _measured(missing, partial(measured, measure, results), executor or local(1))
    for number, (cell, result) in enumerate(work, len(unique) - len(missing) + 1):
        if results.get(cell) is None:  # a worker of another machine keeps it there
            results.put(cell, result)
        # What is kept is what counts: it has been through JSON, as the next run's has.
        found[cell.key] = json.loads(result_text(result))
        tell(number, len(unique))
    return document(cells, {key: row for key, row in found.items() if row is not None}, shard)


def measured(measure: Callable[[Cell], Result], results: Results, cell: Cell) -> Result:
    """Return the result of ``cell``, measured and kept by this process unless it is there."""
    found = results.get(cell)
    if found is None:
        found = measure(cell)
        results.put(cell, found)
    return found


def _measured(
    cells: Sequence[Cell], measure: Callable[[Cell], Result], opener: Opener
) -> Iterator[tuple[Cell, Result]]:
    """Measure cells and yield each with its result, opening a new executor when one breaks."""
    missing, breaks = {cell.key: cell for cell in cells}, 0
    while missing:
        before = len(missing)
        try:
            for cell, result in _once(list(missing.values()), measure, opener):
                del missing[cell.key]
                yield cell, result
        except BrokenExecutor as error:
            breaks = breaks + 1 if len(missing) == before else 1
            if breaks >= MOST_BREAKS:
                raise ParityError(
                    f"workers died {breaks} times without a cell getting done ({error}); "
                    f"{len(missing)} are missing, those that are done are kept: see what ends the "
                    "workers (memory?), and run again"
                ) from error


def _once(
    cells: Sequence[Cell], measure: Callable[[Cell], Result], opener: Opener
) -> Iterator[tuple[Cell, Result]]:
    waiting = iter(cells)
    work: dict[Future[Result], Cell] = {}
    with opener() as pool:
        try:
            while True:
                for cell in islice(waiting, pool.at_once - len(work)):
                    work[pool.executor.submit(measure, cell)] = cell
                if not work:
                    return
                done, _ = wait(work, return_when=FIRST_COMPLETED)
                for future in done:
                    yield work.pop(future), future.result()
        except CancelledError as error:
            raise ParityError(
                "the executor was lost; the cells that are done are kept: start it, and run again"
            ) from error
        finally:
            for future in work:
                future.cancel()


def document(
    cells: Sequence[Cell], results: Mapping[str, Result], shard: Shard | None = None
) -> dict[str, Any]:
    """Return the document of a sweep, or of a part: plain JSON data, with its kind and version."""
    part = {} if shard is None else {"shard": [shard.index, shard.of], "sweep": identity(cells)}
    mine = (shard or Shard()).part(cells)
    rows = [{**asdict(cell), **results[cell.key]} for cell in mine]
    return {"kind": KIND, "version": VERSION, **part, "cells": rows}


def identity(cells: Sequence[Cell]) -> str:
    """Return what tells sweeps apart: a hash of their cells, in order."""
    return hashlib.sha256(json.dumps([asdict(cell) for cell in cells]).encode()).hexdigest()
