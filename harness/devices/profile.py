"""What is known of a unit, line by line: each with its source, and how sure it is.

A `Profile` is data. What it says is a `Fact`, a `Table` of an activation, or an `Unknown` with the
variants that are to be tried, so that whoever computes with it can give a band instead of a number.
How profiles are written as TOML is in `harness.devices.reading`; what computes with them is
`harness.devices.computing.Device`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from harness.devices.grid import LARGEST
from harness.devices.properties import PROPERTIES, Setting
from harness.devices.reference import MANTISSAS
from harness.errors import ParityError, require_known

Confidence = Literal["high", "medium", "low"]
Basis = Literal["measured", "inferred"]
Unit = Literal["ane", "gpu", "cpu"]
MOST_KNOTS: Final = 1025
"""Of any table; Apple's have 33."""


class ProfileError(ParityError):
    """A device profile that is wrong, or a setting that a device does not have."""


@dataclass(frozen=True)
class Origin:
    """Where a line comes from.

    Attributes:
        source: who published it, and for which device.
        confidence: how sure it is.
        basis: whether somebody measured it, or concluded it from something else.
    """

    source: str
    confidence: Confidence
    basis: Basis

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise ProfileError("source: expected who published it, found an empty text")
        for name, value, known in (
            ("confidence", self.confidence, get_args(Confidence)),
            ("basis", self.basis, get_args(Basis)),
        ):
            if value not in known:
                raise ProfileError(f"{name}: expected one of {', '.join(known)}, found {value!r}")


@dataclass(frozen=True)
class Fact:
    """A property that is known well enough to compute with."""

    property: str
    value: Setting
    origin: Origin

    def __post_init__(self) -> None:
        _require(self.property, self.value, "value")


@dataclass(frozen=True)
class Unknown:
    """A property that nobody has published, or of which two sources contradict each other.

    Attributes:
        property: which one.
        assumed: what is computed with unless it is varied.
        variants: all that is plausible, ``assumed`` among them; two or more.
        reason: why it is open.
        origin: where the variants come from.
    """

    property: str
    assumed: Setting
    variants: tuple[Setting, ...]
    reason: str
    origin: Origin

    def __post_init__(self) -> None:
        for variant in self.variants:
            _require(self.property, variant, "variants")
        if len(set(self.variants)) < 2 or len(set(self.variants)) != len(self.variants):
            raise ProfileError(
                f"variants: expected two or more different ones, found {list(self.variants)}"
            )
        if self.assumed not in self.variants:
            raise ProfileError(
                f"assumed: expected one of the variants {list(self.variants)}, "
                f"found {self.assumed!r}"
            )
        if not self.reason.strip():
            raise ProfileError("reason: expected why it is open, found an empty text")


@dataclass(frozen=True)
class Tail:
    """The line that a function follows beyond a table: slope times x plus offset, from ``at`` on.

    Between the outermost knot and ``at`` is a straight line, too.
    """

    at: float
    slope: float
    offset: float


@dataclass(frozen=True)
class Table:
    """A function by equally spaced knots, of which Apple's have 33, and straight lines between.

    Attributes:
        function: its name, in `harness.devices.reference.FUNCTIONS`.
        kind: ``points``, knots over the argument; or ``octave``, knots over a mantissa while the
            exponent is computed apart.
        domain: the first and the last knot; [0, 1] in an octave of exp and exp2, and [1/2, 1] in
            that of any other.
        knots: how many.
        values: ``rounded``, each knot is the function's value rounded to FP16; ``fitted``, the
            knots are the least-squares fit that `harness.devices.tables.fitted_knots` describes.
        odd: whether f(-x) = -f(x) gives the values of negative arguments.
        below: how it goes on under the domain (``None`` if odd, or for an octave).
        above: how it goes on over the domain (``None`` for an octave).
        origin: where this comes from.
    """

    function: str
    kind: Literal["points", "octave"]
    domain: tuple[float, float]
    knots: int
    values: Literal["rounded", "fitted"]
    odd: bool
    below: Tail | None
    above: Tail | None
    origin: Origin

    def __post_init__(self) -> None:
        low, high = self.domain
        if self.kind not in ("points", "octave"):
            raise ProfileError(f"kind: expected points or octave, found {self.kind!r}")
        if self.values not in ("rounded", "fitted"):
            raise ProfileError(f"values: expected rounded or fitted, found {self.values!r}")
        if self.kind == "octave" and (
            self.function not in MANTISSAS or self.values == "fitted" or self.odd
        ):
            raise ProfileError(
                f"kind: expected an octave for none but {', '.join(MANTISSAS)}, not odd, and with "
                "rounded values"
            )
        octave = (0.0, 1.0) if self.function in ("exp", "exp2") else (0.5, 1.0)
        if self.kind == "octave" and self.domain != octave:
            raise ProfileError(
                f"domain: expected the mantissas of {self.function}, {list(octave)}, of an octave, "
                f"found {[low, high]}"
            )
        tails = [tail for tail in (self.below, self.above) if tail is not None]
        lines = [number for tail in tails for number in (tail.at, tail.slope, tail.offset)]
        if not all(map(math.isfinite, lines)):
            raise ProfileError("below, above: expected finite numbers")
        if not max(abs(low), abs(high)) <= LARGEST:
            raise ProfileError(
                f"domain: expected numbers of FP16, up to {LARGEST:,.0f}, found {[low, high]}"
            )
        if not low < high:
            raise ProfileError(f"domain: expected two ascending numbers, found {[low, high]}")
        if not 2 <= self.knots <= MOST_KNOTS:
            raise ProfileError(f"knots: expected 2 to {MOST_KNOTS:,}, found {self.knots}")
        if self.odd and low != 0:
            raise ProfileError(f"domain: expected an odd function's to begin at 0, found {low:g}")
        points = self.kind == "points"
        for name, tail, needed in (
            ("below", self.below, points and not self.odd),
            ("above", self.above, points),
        ):
            if (tail is not None) != needed:
                raise ProfileError(f"{name}: expected {'a line' if needed else 'none'} here")
        if (self.below and self.below.at > low) or (self.above and self.above.at < high):
            raise ProfileError(f"below, above: expected to lie outside of {[low, high]}")


@dataclass(frozen=True)
class Profile:
    """All that is known, and what is not, of one unit.

    Attributes:
        name: ``ane-m1``, ...
        unit: which of Apple's units it is.
        description: one sentence.
        facts: by property.
        unknowns: by property.
        tables: by function.
    """

    name: str
    unit: Unit
    description: str
    facts: Mapping[str, Fact]
    unknowns: Mapping[str, Unknown]
    tables: Mapping[str, Table]

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise ProfileError(f"unit: expected ane, gpu or cpu, found {self.unit!r}")
        both = self.facts.keys() & self.unknowns.keys()
        if both:
            raise ProfileError(f"{min(both)} is both a fact and an unknown; expected one of them")
        for name, property in PROPERTIES.items():
            if property.applies(self.values) and not self.values(name):
                raise ProfileError(
                    f"{name} ({property.meaning}) is missing; add it to the facts or the unknowns"
                )
        if ("tables" in self.values("activations")) != bool(self.tables):
            raise ProfileError("tables: expected some if, and only if, activations may be tables")

    def values(self, property: str) -> tuple[Setting, ...]:
        """Return what ``property`` may be: one value, variants, or none if it does not apply."""
        if property in self.facts:
            return (self.facts[property].value,)
        return self.unknowns[property].variants if property in self.unknowns else ()

    def settings(self) -> dict[str, Setting]:
        """Return the value of every property: as known, or as assumed."""
        assumed = {name: unknown.assumed for name, unknown in self.unknowns.items()}
        return assumed | {name: fact.value for name, fact in self.facts.items()}


def _require(property: str, value: Setting, key: str) -> None:
    require_known("device property", PROPERTIES, property)
    problem = PROPERTIES[property].problem(value)
    if problem is not None:
        raise ProfileError(f"{key}: {problem}")
