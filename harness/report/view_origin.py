"""View models of what a run rests on: goldens, engines and provenance.

In: a run. Out: tables of text. Provenance is whatever the run recorded: objects become tables of
their own, plain values one table that leads.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.report.text import words
from harness.verdicts import GREEN_GOLDENS, RED_GOLDENS, EngineState, GoldenState, Run, Verdict

ENGINE_WORDS = {
    "torch": "PyTorch on this machine",
    "mil": "emulation of the package, operation by operation",
    "coreml": "Apple's Core ML runtime on macOS",
    "coreai": "Apple's Core AI runtime",
    "onnx": "ONNX Runtime",
    "capture": "a recording made on a Mac",
}
_GOLDEN_WORDS = {
    "match": "equal to the committed fingerprint",
    "made": "made here, equal to the committed fingerprint",
    "local": "made here from weights of which no fingerprint is committed",
    "drift": "differs from the committed fingerprint",
    "corrupt": "stored data is damaged",
}
_DEVICE_KEYS = ("processor", "device", "architecture", "cores", "cuda", "system")


@dataclass(frozen=True)
class Facts:
    """A titled table of names and values."""

    title: str
    rows: tuple[tuple[str, str], ...]


def engines_of(run: Run) -> tuple[EngineState, ...]:
    """Return the engines, the executed ones first; required ones that are unknown are absent."""
    known = {engine.name for engine in run.engines}
    unknown = [
        EngineState(name, available=False, reason="this run says nothing about it")
        for name in run.profile.engines
        if name not in known
    ]
    found = (*run.engines, *unknown)
    return tuple(sorted(found, key=lambda engine: (not engine.executed, not engine.available)))


def engine_words(engine: EngineState) -> str:
    """Return what became of an engine."""
    if engine.executed:
        return "ran"
    return "was available, not used" if engine.available else "did not run"


def goldens_of(run: Run) -> tuple[GoldenState, ...]:
    """Return the goldens: broken ones first, then those that could not be used."""
    order = (Verdict.FAIL, Verdict.NOT_EVALUATED, Verdict.PASS)
    return tuple(sorted(run.goldens, key=lambda golden: order.index(golden.verdict)))


def golden_words(golden: GoldenState) -> str:
    """Return what was found of a golden."""
    return golden.message or _GOLDEN_WORDS.get(golden.status, "")


def golden_summary(run: Run) -> str:
    """Return the state of the goldens in a few words."""
    if not run.goldens:
        return "no golden was used"
    counts = Counter(golden.status for golden in run.goldens)
    order = [*RED_GOLDENS, *sorted(set(counts) - set(RED_GOLDENS + GREEN_GOLDENS)), *GREEN_GOLDENS]
    parts = [
        f"{counts[status]} {_GOLDEN_WORDS.get(status, words(status))}"
        for status in order
        if counts[status]
    ]
    return "; ".join(parts)


def golden_hash(run: Run) -> str:
    """Return one hash of all goldens that were used; empty if one of them has none."""
    rows = sorted((golden.subject, golden.case, golden.sha256) for golden in run.goldens)
    if not rows or not all(digest for *_, digest in rows):
        return ""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def provenance(run: Run) -> tuple[Facts, ...]:
    """Return the tables of provenance; plain values lead."""
    plain = [("Started (UTC)", run.started)] if run.started else []
    tables = []
    for name, value in run.provenance.items():
        if isinstance(value, Mapping):
            tables.append(Facts(words(str(name)).capitalize(), tuple(_flatten(value))))
        else:
            plain.append((words(str(name)).capitalize(), _value(value)))
    return (Facts("This run", tuple(plain)), *(table for table in tables if table.rows))


def device(run: Run) -> str:
    """Return the machine in a few words; empty if the run did not record one."""
    for name in ("device", "machine", "platform", "host"):
        value = run.provenance.get(name)
        if isinstance(value, Mapping):
            wanted = [key for key in _DEVICE_KEYS if value.get(key)]
            parts = [f"{value[key]} cores" if key == "cores" else str(value[key]) for key in wanted]
            if parts:
                return ", ".join(parts)
        elif value:
            return str(value)
    return ""


def _flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            found += _flatten(item, f"{name}.")
        else:
            found.append((name, _value(item)))
    return found


def _value(value: Any) -> str:
    if value is None:
        return "not recorded"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(item) for item in value)
    return str(value)
