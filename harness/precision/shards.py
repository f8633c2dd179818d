"""The documents of all shards of a sweep, made into the document of the whole.

In: the documents that `harness.precision.sweep.run_sweep` gave for each shard, in any order. Out:
what it gives for all cells at once, byte for byte; or an error that says what is missing, there
twice, or of another sweep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from harness.errors import ParityError
from harness.precision.sweep import KIND, VERSION, Cell, identity
from harness.verdicts.kinds import another_kind

_NAMES: Final = [field.name for field in fields(Cell)]


def merge(documents: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a whole sweep.

    Args:
        documents: JSON data by the name of the file, for messages.

    Raises:
        ParityError: one is no document of a shard, or together they are not one sweep.
    """
    if not documents:
        raise ParityError("no documents to merge; give those of all shards")
    parts: dict[int, tuple[str, list[Any]]] = {}
    about: tuple[Any, Any] | None = None
    for name, found in documents.items():
        index, of, sweep, cells = _part(name, found)
        if about not in (None, (of, sweep)):
            raise ParityError(f"{name} is of another sweep, or cut into other shards than the rest")
        if index in parts:
            raise ParityError(f"{name} is shard {index}/{of}, and so is {parts[index][0]}")
        about, parts[index] = (of, sweep), (name, cells)
    assert about is not None
    count, sweep = about
    missing = [f"{index}/{count}" for index in range(1, count + 1) if index not in parts]
    if missing:
        raise ParityError(f"shards are missing: {', '.join(missing)}; give the documents of all")
    total = sum(len(cells) for _, cells in parts.values())
    rows: list[Any] = [None] * total
    for index, (name, cells) in parts.items():
        if len(rows[index - 1 :: count]) != len(cells):
            raise ParityError(f"{name} has {len(cells)} cells; make the shard again")
        rows[index - 1 :: count] = cells
    if identity([Cell(**{name: row[name] for name in _NAMES}) for row in rows]) != sweep:
        raise ParityError("the cells of the shards are not those of their sweep; make them again")
    return {"kind": KIND, "version": VERSION, "cells": rows}


def _part(name: str, found: Any) -> tuple[int, int, str, list[Any]]:
    """Return index, number of shards, sweep and cells of one document."""
    match found:
        case {
            "kind": kind,
            "version": version,
            "shard": [int(index), int(of)],
            "sweep": str(sweep),
            "cells": list(cells),
        } if (kind, version) == (KIND, VERSION) and 1 <= index <= of:
            if all(isinstance(row, dict) and set(_NAMES) <= row.keys() for row in cells):
                return index, of, sweep, cells
    other = another_kind(found, KIND) or "no document of a shard"
    raise ParityError(f"{name} is {other}; expected one of: parity sweep --shard K/N --out FILE")
