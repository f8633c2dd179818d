"""Goldens: the expected tensors, made by the subject, stored with where they come from.

``recipes.toml`` says which signals there are, a builder runs the subject on them, and `GoldenStore`
keeps the tensors in safetensors files that any language reads. What the tensors should look like on
every machine is committed as fingerprints (`manifest.json`); the tensors themselves are not.
"""

from __future__ import annotations

from harness.golden.fingerprint import Fingerprint, fingerprint, largest_difference
from harness.golden.recipes import Case, load_cases
from harness.golden.status import Finding, GoldenStatus
from harness.golden.store import Fetched, GoldenStore
from harness.golden.tensorfile import Golden

__all__ = [
    "Case",
    "Fetched",
    "Finding",
    "Fingerprint",
    "Golden",
    "GoldenStatus",
    "GoldenStore",
    "fingerprint",
    "largest_difference",
    "load_cases",
]
