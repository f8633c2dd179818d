"""Which kind of document of this program JSON data is, for whoever was given another one.

A run in place of a baseline is refused as a run, not by what it lacks or by its version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.bounded import parse_json

_MARKS: Final = {
    "attestation": {"_type", "predicateType"},
    "run": {"schema_version", "checks", "layers"},
    "snapshot": {"schema_version", "profile", "readings"},
    "baseline": {"schema_version", "snapshot", "reason"},
    "inventory": {"schema_version", "checks", "faults"},
    "pack": {"format", "byte_order", "rules"},
    "golden manifest": {"format", "goldens"},
    "reduction": {"fails_when", "operations_in_whole"},
}
"""The keys that tell a kind; a run has those of an inventory, too, and comes first."""
_KINDS: Final = ("bench", "conformance", "rewriting", "sensitivity", "sweep", "tuning")
"""What documents of commands say of themselves."""
_NAMES: Final = {
    "attestation": "an attestation",
    "baseline": "an accepted baseline",
    "inventory": "an inventory",
    "pack": "the manifest of a pack",
    "reduction": "the record of a reduction",
    "snapshot": "what a history remembers of a run",
}
_ADVICE: Final = {
    ("run", "baseline"): "accept it first: parity baseline accept RUN.json --reason WHY "
    "--baseline FILE",
    ("run", "attestation"): "attest it first: parity attest make RUN.json X.mlpackage --out FILE",
    ("run", "inventory"): "accept it first: parity inventory accept RUN.json",
    ("baseline", "run"): "give the run.json that was accepted",
    ("snapshot", "run"): "give the run.json of that run",
}


def another_kind(document: Any, wanted: str) -> str:
    """Return what a document is, with what to do; "" if it is of the kind ``wanted``, or of none.

    Args:
        document: JSON data, or what may be its text.
        wanted: run, baseline, snapshot, inventory, attestation, or what a document calls its kind.
    """
    if isinstance(document, str):
        try:
            document = parse_json(document)
        except ValueError:
            return ""
    found = _kind(document)
    if found in ("", wanted):
        return ""
    advice = _ADVICE.get((found, wanted), "")
    name = _NAMES.get(found, f"a {found}" if found in _MARKS else f"a document of kind {found!r}")
    article = "an" if wanted[0] in "aeiou" else "a"
    return f"{name}, not {article} {wanted}" + (f"; {advice}" if advice else "")


def _kind(document: Any) -> str:
    if not isinstance(document, Mapping):
        return ""
    if document.get("kind") in _KINDS:
        return str(document["kind"])
    return next((kind for kind, keys in _MARKS.items() if keys <= document.keys()), "")
