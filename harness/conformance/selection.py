"""Which of the suite's tests are evaluated: those of ML Programs, all or a fixed sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def of_ml_programs(parameters: Mapping[str, Any]) -> bool:
    """Whether a test with these parameters may be about ML Programs: it names no other backend."""
    return _backend(parameters) in (None, "mlprogram")


def names_ml_programs(parameters: Mapping[str, Any]) -> bool:
    """Whether a test with these parameters is about ML Programs; most others predict nothing."""
    return _backend(parameters) == "mlprogram"


def _backend(parameters: Mapping[str, Any]) -> object:
    backend = parameters.get("backend")
    return backend[0] if isinstance(backend, tuple) else getattr(backend, "backend", None)


def sample(ids: Iterable[str], per_function: int) -> frozenset[str]:
    """Return ``per_function`` tests of each test function, always the same ones.

    Each operation has test functions of its own, so a sample touches them all. Which parameters
    are taken is decided by a hash of the test's id: adding a test moves no other.
    """
    functions: dict[str, list[str]] = {}
    for name in ids:
        functions.setdefault(name.partition("[")[0], []).append(name)
    return frozenset(name for names in functions.values() for name in _first(names, per_function))


def _first(names: Sequence[str], count: int) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:count]
