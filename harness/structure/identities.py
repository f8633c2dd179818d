"""Operations that hand on what they read, bit for bit, and pairs that do so together.

Every rule asks the declared types first: what changes a shape or an element type is no identity.
The one exception to "bit for bit" is an addition of zero, which makes +0.0 of -0.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.mil.ops.movement import slice_limits
from harness.mil.types import DataType, TensorType, ValueType
from harness.structure.terms import Fixed, Operand, Result, Source

NEUTRAL: Final[Mapping[str, tuple[float, tuple[str, ...]]]] = {
    "add": (0.0, ("x", "y")),
    "sub": (0.0, ("y",)),
    "mul": (1.0, ("x", "y")),
    "real_div": (1.0, ("y",)),
    "pow": (1.0, ("y",)),
}
"""The constant that changes nothing, and as which operand it does so."""

WIDER: Final = {(DataType.FLOAT16, DataType.FLOAT32)}
"""Element types where the second holds every value of the first."""


@dataclass(frozen=True)
class Draft:
    """An operation before it becomes a term."""

    type: str
    operands: tuple[Operand, ...]
    settings: Mapping[str, Any]
    results: tuple[ValueType, ...]

    def read(self, parameter: str) -> Source | None:
        """Return what it reads as ``parameter``; None if that isn't a single source."""
        found = [o.source for o in self.operands if o.parameter == parameter]
        return found[0] if len(found) == 1 else None


def passed_on(draft: Draft) -> Source | None:
    """Return the operand that an operation hands on as it is; None if it does anything."""
    if len(draft.results) != 1:
        return None
    if draft.type in NEUTRAL:
        return _beside_neutral(draft)
    source = draft.read("values" if draft.type == "concat" else "x")
    if source is None or source.type != draft.results[0]:
        return None
    return source if _moves_nothing(draft, source.type) else None


def simplified(draft: Draft) -> Draft:
    """Return the operation as one that reads past what only reorders, renames or widens.

    A reshape of a reshape is one reshape, a transpose of a transpose one transpose, and a cast of
    what a cast has widened is one cast of the original.
    """
    draft = _without_shape(draft)
    source = draft.read("x")
    if (
        not isinstance(source, Result)
        or source.term.type != draft.type
        or draft.type not in _CHAINS
    ):
        return draft
    before = Draft(draft.type, source.term.operands, source.term.settings, source.term.results)
    inner = before.read("x")
    settings = None if inner is None else _CHAINS[draft.type](draft, before)
    if inner is None or settings is None:
        return draft
    return Draft(draft.type, (Operand("x", 0, inner),), settings, draft.results)


def _beside_neutral(draft: Draft) -> Source | None:
    number, sides = NEUTRAL[draft.type]
    for side in sides:
        constant, other = draft.read(side), draft.read("y" if side == "x" else "x")
        if (
            isinstance(constant, Fixed)
            and other is not None
            and other.type == draft.results[0]
            and constant.holds_only(number)
        ):
            return other
    return None


def _moves_nothing(draft: Draft, type_: ValueType) -> bool:
    """Whether an operation whose result has the type of its operand leaves that as it is."""
    settings = draft.settings
    if draft.type in ("identity", "cast", "concat"):
        return True
    if draft.type == "transpose":
        perm = settings.get("perm")
        return perm is not None and list(perm) == list(range(len(perm)))
    if draft.type == "reshape":
        return "shape" not in settings and len(draft.operands) == 1
    if draft.type == "pad":
        return "pad" in settings and not any(settings["pad"])
    if draft.type == "tile":
        return "reps" in settings and set(settings["reps"]) <= {1}
    if draft.type == "slice_by_index":
        return _takes_all(draft, type_)
    return False


def _takes_all(draft: Draft, type_: ValueType) -> bool:
    if not isinstance(type_, TensorType) or not type_.is_static or len(draft.operands) != 1:
        return False
    shape = tuple(size or 0 for size in type_.shape or ())
    given = draft.settings
    try:
        rest = map(given.get, ("stride", "begin_mask", "end_mask", "squeeze_mask"))
        limits = slice_limits(shape, given["begin"], given["end"], *rest)
    except (LookupError, TypeError):  # it doesn't fit its operand; whoever executes it says so
        return False
    return all(range(n)[taken] == range(n) for n, taken in zip(shape, limits, strict=True))


def _without_shape(draft: Draft) -> Draft:
    """Return a reshape without the shape that its declared result says again, -1 resolved."""
    shape, result = draft.settings.get("shape"), draft.results[0] if draft.results else None
    if draft.type != "reshape" or shape is None or not isinstance(result, TensorType):
        return draft
    if not result.is_static or not _says(shape, result.shape or ()):
        return draft
    settings = {name: value for name, value in draft.settings.items() if name != "shape"}
    return Draft(draft.type, draft.operands, settings, draft.results)


def _says(shape: Sequence[int], declared: Sequence[int | None]) -> bool:
    return (
        len(shape) == len(declared)
        and shape.count(-1) <= 1
        and all(given in (-1, size) for given, size in zip(shape, declared, strict=True))
    )


def _reshaped_twice(draft: Draft, before: Draft) -> Mapping[str, Any] | None:
    plain = "shape" not in draft.settings and len(draft.operands) == len(before.operands) == 1
    return draft.settings if plain else None


def _transposed_twice(draft: Draft, before: Draft) -> Mapping[str, Any] | None:
    outer, inner = draft.settings.get("perm"), before.settings.get("perm")
    if outer is None or inner is None or len(outer) != len(inner):
        return None
    if sorted(outer) != list(range(len(outer))) or sorted(inner) != list(range(len(inner))):
        return None
    return {"perm": tuple(inner[axis] for axis in outer)}


def _widened(draft: Draft, before: Draft) -> Mapping[str, Any] | None:
    original = next(o.source.type for o in before.operands if o.parameter == "x")
    middle = before.results[0]
    if not isinstance(original, TensorType) or not isinstance(middle, TensorType):
        return None
    return draft.settings if (original.dtype, middle.dtype) in WIDER else None


_CHAINS: Final = {"reshape": _reshaped_twice, "transpose": _transposed_twice, "cast": _widened}
