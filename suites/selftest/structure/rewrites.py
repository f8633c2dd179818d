"""All harmless rewrites of a package; `suites.selftest.structure.rewriting` says what one is."""

from __future__ import annotations

from suites.selftest.structure import (
    rewrites_of_files,
    rewrites_of_names,
    rewrites_of_order,
    rewrites_put_in,
)
from suites.selftest.structure.rewriting import REWRITES

__all__ = [
    "REWRITES",
    "rewrites_of_files",
    "rewrites_of_names",
    "rewrites_of_order",
    "rewrites_put_in",
]
