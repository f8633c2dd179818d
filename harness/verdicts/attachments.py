"""Documents of the precision lab, of conformance and of benchmarks that a run takes along.

In: JSON files that ``parity sensitivity --out``, ``parity tune``, ``parity headroom --json``,
``parity conformance`` and ``nox -s bench`` write. Out: `Attachment` rows, cut to what the report
draws: a run stays small whatever is attached.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from harness.bounded import read_json
from harness.errors import RunError
from harness.verdicts.artefacts import KIND_OF, Attachment
from harness.verdicts.jsondata import numbers
from harness.verdicts.runs import Run

MOST_BYTES: Final = 64 << 20
MOST_OPERATIONS: Final = 4000
MOST_AT_RISK: Final = 200
MOST_LISTED: Final = 200


def read_attachment(file: Path) -> Attachment:
    """Return the document in ``file``.

    Raises:
        RunError: it can't be read, is no JSON, or no document that a report draws.
    """
    try:
        document = read_json(file, MOST_BYTES, RunError)
    except RunError as error:
        raise RunError(f"can't attach {error}") from error
    return attachment(file.name, document)


def attachment(name: str, document: Any) -> Attachment:
    """Return a document as a row of a run.

    Args:
        name: of the file, or of what made it.
        document: what a command of the precision lab wrote, or would write.

    Raises:
        RunError: it is of no kind that a report draws.
    """
    kind = _kind(document)
    if kind not in _CUTS:
        raise RunError(
            f"can't attach {name}: expected a document of parity sensitivity, parity tune, "
            "parity headroom, parity conformance or nox -s bench"
        )
    return Attachment(name, kind, numbers(_CUTS[kind](document)))


def with_attachments(run: Run, items: Iterable[Attachment]) -> Run:
    """Return ``run`` with documents added; one that it has already stays once."""
    kind = KIND_OF[Attachment]
    rows = list(run.artefacts.get(kind, ()))
    for item in items:
        row = asdict(item)
        if row not in rows:
            rows.append(row)
    return replace(run, artefacts={**run.artefacts, kind: tuple(rows)}) if rows else run


def _kind(document: Any) -> str:
    if not isinstance(document, Mapping):
        return ""
    if "kind" in document:
        return str(document["kind"])
    return "headroom" if {"as_fp16", "at_risk", "operations"} <= document.keys() else ""


def _sensitivity(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the first measure: the one that operations are ranked by."""
    measures = _list(document, "measures")[:1]
    operations = [
        {key: item.get(key) for key in ("operation", "type", "module", "error")}
        | {"mean": {name: _mapping(item, "mean").get(name) for name in measures}}
        for item in _objects(document, "operations")[:MOST_OPERATIONS]
    ]
    names = ["kind", "version", "subject", "precision", "cases", "probes"]
    names += ["predicted_db", "measured_db"]
    kept = {key: document[key] for key in names if key in document}
    return kept | {"measures": measures, "operations": operations}


def _tuning(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep counts in place of the names of operations."""
    names = ("kind", "version", "subject", "cases", "goal", "reached", "limit")
    best = document.get("best")
    return {key: document[key] for key in names if key in document} | {
        "best": _counted(best) if isinstance(best, Mapping) else None,
        "trials": [_counted(trial) for trial in _objects(document, "trials")[:MOST_OPERATIONS]],
    }


def _counted(trial: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: trial.get(key) for key in ("fp32_share", "measured_db", "holds")}
    return kept | {"fp32_count": len(_list(trial, "fp32"))}


def _headroom(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the operations at risk, and the least headroom of all."""
    operations = _objects(document, "operations")
    risky = [item for item in operations if item.get("risks")]
    levels = [item.get("headroom_db") for item in operations]
    names = ("subject", "numerics", "as_fp16", "cases")
    return {key: document[key] for key in names if key in document} | {
        "operation_count": len(operations),
        "at_risk_count": len(risky),
        "least_headroom_db": min((v for v in levels if isinstance(v, (int, float))), default=None),
        "operations": risky[:MOST_AT_RISK],
    }


def _conformance(document: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the table by operation, and the first of everything that did not pass."""
    told = ("kind", "version", "verdict", "sentence", "selection", "started", "provenance")
    names = (*told, "counts", "operations")
    listed = ("failures", "waived", "stale_waivers", "problems")
    kept = {key: document[key] for key in names if key in document}
    return kept | {key: _list(document, key)[:MOST_LISTED] for key in listed}


def _bench(document: Mapping[str, Any]) -> dict[str, Any]:
    names = ("kind", "version", "started", "provenance")
    kept = {key: document[key] for key in names if key in document}
    return kept | {"figures": _objects(document, "figures")[:MOST_OPERATIONS]}


_CUTS: Final = {
    "sensitivity": _sensitivity,
    "tuning": _tuning,
    "headroom": _headroom,
    "conformance": _conformance,
    "bench": _bench,
}


def _list(row: Mapping[str, Any], key: str) -> list[Any]:
    value = row.get(key)
    return list(value) if isinstance(value, (list, tuple)) else []


def _objects(row: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [item for item in _list(row, key) if isinstance(item, Mapping)]


def _mapping(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = row.get(key)
    return value if isinstance(value, Mapping) else {}
