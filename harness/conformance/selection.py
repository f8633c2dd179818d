"""Which of the suite's tests are evaluated: those of ML Programs, all or a fixed sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any


def backend_of(parameters: Mapping[str, Any]) -> object:
    """Return the backend that a test with these parameters is about; None if it names none.

    ``"mlprogram"`` are ML Programs. A test that names none may be about them, too, but most of
    those predict nothing.
    """
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
    return frozenset(
        name
        for names in functions.values()
        for name in sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest())[:per_function]
    )
