"""Which units can run an operation, by its type, its element types and its shapes.

The rules are data, ``placement.toml`` beside this module, each with its source. They say what a
unit can run. Which of the units that can run an operation Core ML chooses, it decides by a cost
model that is not published; a choice can be read off a device with ``MLComputePlan``.

    place("conv", ["fp16", "fp16"], [[1, 48, 512, 336], [48, 48, 3, 3]]).units
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

from harness.bounded import parse_toml
from harness.devices.profile import Origin, ProfileError

UNITS: Final = ("ane-m1", "ane-m5", "gpu", "cpu")
"""The units that rules are about."""

Shape = Sequence[int]
Judged = tuple[bool, str] | None
"""Whether a unit can run an operation, and a remark; None if a rule is not about it."""
Judge = Callable[[str, Sequence[str], Sequence[Shape]], Judged]
"""From operation type, element types and shapes."""
Measure = Callable[[Sequence[Shape]], Iterable[tuple[int, Shape]]]
"""The numbers that a rule about shapes limits, each with its shape."""


@dataclass(frozen=True)
class Verdict:
    """Whether one unit can run an operation.

    Attributes:
        unit: one of `UNITS`.
        possible: ``None`` where nothing is published.
        reason: the rule's, with the value that it is about.
        origin: who published the rule; ``None`` where there is none.
    """

    unit: str
    possible: bool | None
    reason: str
    origin: Origin | None


@dataclass(frozen=True)
class Placement:
    """Where an operation can run: one verdict for each of `UNITS`, in their order."""

    operation: str
    verdicts: tuple[Verdict, ...]

    @property
    def units(self) -> frozenset[str]:
        """The units of which it is published that they can run it."""
        return frozenset(v.unit for v in self.verdicts if v.possible)

    def on(self, unit: str) -> Verdict:
        """Return the verdict of ``unit``.

        Raises:
            ProfileError: there is no such unit.
        """
        for verdict in self.verdicts:
            if verdict.unit == unit:
                return verdict
        raise ProfileError(f"unit {unit!r} has no rules; expected one of {', '.join(UNITS)}")


@dataclass(frozen=True)
class Rule:
    """One rule: of which units, what it says, and how it judges an operation.

    Attributes:
        units: those that it is about.
        judge: gives ``None`` where the rule is not about an operation.
        reason: what the rule says.
        origin: who published it.
    """

    units: tuple[str, ...]
    judge: Judge
    reason: str
    origin: Origin


def place(operation: str, dtypes: Sequence[str], shapes: Sequence[Shape]) -> Placement:
    """Return which units can run an operation.

    Args:
        operation: MIL's name of its type: ``conv``, ``layer_norm``, ...
        dtypes: element types of its tensors, as MIL names them: ``fp16``, ``int32``, ...
        shapes: shapes of its tensors, inputs before outputs; of ``conv`` and ``conv_transpose``
            the second is the weight's.
    """
    verdicts = tuple(_verdict(unit, operation, dtypes, shapes) for unit in UNITS)
    return Placement(operation, verdicts)


def _verdict(unit: str, operation: str, dtypes: Sequence[str], shapes: Sequence[Shape]) -> Verdict:
    allowed: Verdict | None = None
    for rule in rules():
        judged = rule.judge(operation, dtypes, shapes) if unit in rule.units else None
        if judged is None:
            continue
        possible, remark = judged
        verdict = Verdict(unit, possible, f"{rule.reason} ({remark})", rule.origin)
        if not possible:
            return verdict
        allowed = allowed or verdict
    return allowed or Verdict(unit, None, f"nothing is published of {operation} here", None)


@cache
def rules() -> tuple[Rule, ...]:
    """Return the rules that come with the harness."""
    text = files("harness.devices").joinpath("placement.toml").read_text(encoding="utf-8")
    return parse_rules(text)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Return the rules that a TOML text describes.

    Raises:
        ProfileError: the text is no TOML, or a rule is wrong; the message names it.
    """
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise ProfileError(f"placement rules: not valid TOML: {error}") from error
    found = []
    for kind, entries in table.items():
        if kind not in _READERS:
            raise ProfileError(f"placement rules: expected {', '.join(_READERS)}, found {kind!r}")
        for number, entry in enumerate(entries, start=1):
            where = f"placement rules: {kind} {number}"
            try:
                found.append(_rule(kind, MappingProxyType(entry)))
            except (KeyError, TypeError, ValueError) as error:
                raise ProfileError(f"{where}: {error!r}; expected the keys of {kind}") from error
            except ProfileError as error:
                raise ProfileError(f"{where}: {error}") from error
    return tuple(found)


def _rule(kind: str, entry: Mapping[str, Any]) -> Rule:
    units = tuple(entry["units"])
    if not units or not set(units) <= set(UNITS):
        raise ProfileError(f"units: expected some of {', '.join(UNITS)}, found {list(units)}")
    origin = Origin(entry["source"], entry["confidence"], entry["basis"])
    return Rule(units, _READERS[kind](entry), entry["reason"], origin)


def _by_operation(entry: Mapping[str, Any]) -> Judge:
    types, possible = frozenset(entry["types"]), bool(entry["possible"])
    return lambda operation, dtypes, shapes: (possible, operation) if operation in types else None


def _by_type(entry: Mapping[str, Any]) -> Judge:
    refused, allowed = frozenset(entry.get("refused", ())), frozenset(entry.get("allowed", ()))
    if bool(refused) == bool(allowed):
        raise ProfileError("expected one of the keys refused and allowed")

    def judge(operation: str, dtypes: Sequence[str], shapes: Sequence[Shape]) -> Judged:
        found = sorted(set(dtypes) & refused)
        if found:
            return False, ", ".join(found)
        return (True, ", ".join(dtypes)) if allowed and set(dtypes) <= allowed else None

    return judge


def _by_shape(entry: Mapping[str, Any]) -> Judge:
    measure, types = _MEASURES[entry["limit"]], entry.get("types")
    most, least = int(entry.get("most", 1 << 62)), int(entry.get("least", 0))

    def judge(operation: str, dtypes: Sequence[str], shapes: Sequence[Shape]) -> Judged:
        if types is not None and operation not in types:
            return None
        for value, shape in measure(shapes):
            if not least <= value <= most:
                return False, f"{value:,} in {list(shape)}"
        return None

    return judge


_MEASURES: Final[Mapping[str, Measure]] = {
    "rank": lambda shapes: ((len(s), s) for s in shapes),
    "last_axes": lambda shapes: ((n, s) for s in shapes for n in s[-2:]),
    "other_axes": lambda shapes: ((n, s) for s in shapes for n in s[:-2]),
    "least_axis": lambda shapes: ((n, s) for s in shapes for n in s),
    "kernel_width": lambda shapes: ((n, s) for s in shapes[1:2] for n in s[-1:]),
}
_READERS: Final = {"operations": _by_operation, "types": _by_type, "shapes": _by_shape}
