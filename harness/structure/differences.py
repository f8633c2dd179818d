"""What differs between two programs, one `ProgramDifference` for each thing, and where in PyTorch.

Its significance says what a difference means. *Computes otherwise*: the two are aligned there, and
one has another number, setting, operand or operation. *Written otherwise*: an operation or several
stand instead of others, which may compute the same (another version of a converter, another
pipeline of passes) or may not; that can't be told from the program alone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.structure.terms import INPUT, Fixed, Source, Term


class ProgramChange(enum.Enum):
    """What a difference is."""

    MISSING = "missing operation"
    INSERTED = "inserted operation"
    OPERATION = "changed operation"
    ATTRIBUTE = "changed attribute"
    CONSTANT = "changed constant"
    DTYPE = "changed element type"
    SHAPE = "changed shape"
    INPUT = "rewired input"
    OUTPUT = "rewired output"
    INTERFACE = "changed interface"


class Significance(enum.Enum):
    """What a difference means; see the module."""

    COMPUTES = "computes otherwise"
    WRITTEN = "written otherwise"


@dataclass(frozen=True)
class ProgramDifference:
    """One thing that differs.

    Attributes:
        operation: name of the expected operation's first result; of an inserted one, its own.
        type: its MIL type; "" where no operation is concerned.
        module: path of the PyTorch module that it comes from; of an inserted operation that of the
            matched operation beside it; "" is the network itself; None where it isn't known.
        kind: what it is.
        parameter: the attribute, constant, input or output; "" where the whole operation is meant.
        expected, actual: what it is there, in words or numbers; "nothing" where it is absent.
        elements: of a changed constant, how many differ.
        greatest: of a changed constant, the greatest absolute difference; NaN if one is not finite.
        severity: what it means.
    """

    operation: str
    type: str
    module: str | None
    kind: ProgramChange
    parameter: str
    expected: str
    actual: str
    elements: int | None = None
    greatest: float | None = None
    severity: Significance = Significance.COMPUTES

    @property
    def place(self) -> str:
        """The operation and where it comes from."""
        if not self.type:
            return self.operation
        origin = "" if self.module is None else f" of {self.module or 'the network itself'}"
        return f"{self.type} {self.operation!r}{origin}"

    def __str__(self) -> str:
        what = f" {self.parameter}" if self.parameter else ""
        text = f"{self.kind.value}{what} in {self.place}"
        if self.kind in (ProgramChange.MISSING, ProgramChange.INSERTED):
            return f"{self.kind.value}: {self.place}"
        if self.greatest is not None:
            return f"{text}: {self.actual}, by at most {self.greatest:.3g}"
        return f"{text}: expected {self.expected}, actual {self.actual}"

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain Python values."""
        return {
            **vars(self),
            "kind": self.kind.value,
            "severity": self.severity.value,
            "greatest": None if self.greatest != self.greatest else self.greatest,
        }


@dataclass(frozen=True)
class Places:
    """Where the values of the expected program come from: module paths by name, if it says so."""

    modules: Mapping[str, str] | None

    def of(self, term: Term) -> str | None:
        """Return the module of an expected term."""
        return None if self.modules is None else self.modules.get(term.name)

    def origin(self, source: Source) -> str:
        """Return where an operand comes from, in words, for an expected term."""
        if isinstance(source, Fixed):
            return f"a constant {source.type}"
        module = self.of(source.term)
        where = "" if module is None else f" of {module or 'the network itself'}"
        return f"{described(source)}{where}"


def described(source: Source) -> str:
    """Return what a source is, in the program's own words."""
    if isinstance(source, Fixed):
        return f"a constant {source.type}"
    term = source.term
    if term.type == INPUT:
        return f"input {term.name!r}"
    part = f"result {source.number} of " if len(term.results) > 1 else ""
    return f"{part}{term.type} {term.name!r}"


def setting_text(value: object) -> str:
    """Return a setting as people read it, shortened where it is long."""
    text = repr(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."


def compare_constants(expected: Fixed, actual: Fixed) -> dict[str, Any]:
    """Return how two constants of one type and shape differ, as fields of a `ProgramDifference`."""
    if isinstance(expected.constant.value, str | tuple | dict):
        return {"expected": "a text", "actual": "another text"}
    one, other = expected.array, actual.array
    unequal = _bits(one) != _bits(other)
    count = int(unequal.any(axis=-1).sum())
    with np.errstate(over="ignore", invalid="ignore"):
        gaps = np.abs(one.astype(np.float64) - other.astype(np.float64))
    greatest = float(gaps.max()) if gaps.size else 0.0
    said = {"elements": count, "greatest": greatest if np.isfinite(greatest) else float("nan")}
    if one.size == 1:
        left, right = one.reshape(-1)[0], other.reshape(-1)[0]
        return said | {"expected": f"{left:.9g}", "actual": f"{right:.9g} for {left:.9g}"}
    total = f"{count:,} of {one.size:,} numbers differ"
    return said | {"expected": f"{one.size:,} numbers", "actual": total}


def _bits(array: np.ndarray) -> np.ndarray:
    """Return the bytes of each element, [n, bytes]."""
    flat = np.ascontiguousarray(array).reshape(-1, 1)
    return flat.view(np.uint8).reshape(array.size, -1)
