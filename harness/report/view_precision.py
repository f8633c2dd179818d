"""View models of the precision maps: which operations run in FP16, and whether the recipe did it.

In: the ``precision_map`` rows of a run. Out: for each subject one table by operation type with a
column per recipe, and a card per recipe with its rules and the audit of its package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.reading import (
    Row,
    flag,
    number,
    objects,
    rows,
    sequence,
    text,
    whole,
)
from harness.report.text import words
from harness.report.units import count, percent
from harness.verdicts import Run


@dataclass(frozen=True)
class Split:
    """How many operations run in each precision; ``other`` is integers and booleans."""

    fp16: int = 0
    fp32: int = 0
    other: int = 0

    @property
    def total(self) -> int:
        """The number of operations."""
        return self.fp16 + self.fp32 + self.other

    @property
    def words(self) -> str:
        """The counts in words, without those that are 0."""
        parts = (("FP16", self.fp16), ("FP32", self.fp32), ("other", self.other))
        return ", ".join(f"{count(number)} {name}" for name, number in parts if number)

    @property
    def fp16_percent(self) -> float:
        """The share of FP16."""
        return percent(self.fp16, self.total)

    @property
    def fp32_percent(self) -> float:
        """The share of FP32."""
        return percent(self.fp32, self.total)

    @property
    def other_percent(self) -> float:
        """The share of everything else."""
        return percent(self.other, self.total)


@dataclass(frozen=True)
class Rule:
    """One rule of a recipe, and how many operations it matched."""

    rule: str
    precision: str
    matched: int | None
    optional: bool

    @property
    def idle(self) -> bool:
        """Whether it matched nothing although it had to."""
        return not self.matched and not self.optional


@dataclass(frozen=True)
class Audit:
    """Whether the package's precision map equals the recipe."""

    state: str
    word: str
    reason: str
    differences: tuple[str, ...]
    difference_count: int | None


@dataclass(frozen=True)
class PrecisionCard:
    """One recipe of one subject."""

    recipe: str
    gating: bool | None
    source: str
    size_bytes: float | None
    operations: float | None
    split: Split
    rules: tuple[Rule, ...]
    audit: Audit

    @property
    def idle_rules(self) -> int:
        """How many rules matched nothing although they had to."""
        return sum(rule.idle for rule in self.rules)


@dataclass(frozen=True)
class PrecisionMap:
    """The recipes of one subject; ``table`` has a split per recipe for each operation type."""

    subject: str
    cards: tuple[PrecisionCard, ...]
    table: tuple[tuple[str, tuple[Split, ...]], ...]


def precision_maps(run: Run) -> tuple[PrecisionMap, ...]:
    """Return a map for each subject, in the order of the run."""
    items = rows(run, "precision_map")
    return tuple(
        _map(name, [row for row in items if text(row, "subject") == name])
        for name in dict.fromkeys(text(row, "subject") for row in items)
    )


def _map(subject: str, items: Sequence[Row]) -> PrecisionMap:
    counts = [_counts(row) for row in items]
    types = dict.fromkeys(name for found in counts for name in found)
    largest = {name: max(found.get(name, Split()).total for found in counts) for name in types}
    table = tuple(
        (name, tuple(found.get(name, Split()) for found in counts))
        for name in sorted(types, key=lambda name: (-largest[name], name))
    )
    cards = tuple(_card(row, found) for row, found in zip(items, counts, strict=True))
    return PrecisionMap(subject, cards, table)


def _counts(row: Row) -> dict[str, Split]:
    counts = row.get("counts")
    if not isinstance(counts, Mapping):
        return {}
    return {
        str(name): Split(**{key: whole(item, key) or 0 for key in ("fp16", "fp32", "other")})
        for name, item in counts.items()
        if isinstance(item, Mapping)
    }


def _card(row: Row, counts: Mapping[str, Split]) -> PrecisionCard:
    splits = tuple(counts.values())
    total = Split(
        fp16=sum(split.fp16 for split in splits),
        fp32=sum(split.fp32 for split in splits),
        other=sum(split.other for split in splits),
    )
    operations = number(row, "operations")
    return PrecisionCard(
        recipe=text(row, "recipe"),
        gating=flag(row, "gating"),
        source=text(row, "source"),
        size_bytes=number(row, "size_bytes"),
        operations=operations if operations is not None else (total.total or None),
        split=total,
        rules=tuple(_rule(item) for item in objects(row, "rules")),
        audit=_audit(row),
    )


def _rule(item: Row) -> Rule:
    return Rule(
        rule=text(item, "rule"),
        precision=text(item, "precision"),
        matched=whole(item, "matched"),
        optional=flag(item, "optional") is True,
    )


def _audit(row: Row) -> Audit:
    audit = row.get("audit")
    if not isinstance(audit, Mapping):
        return Audit("not_evaluated", "not evaluated", "the package was not audited", (), None)
    verdict = text(audit, "verdict")
    state = verdict if verdict in ("pass", "fail") else "not_evaluated"
    word = words(state)
    if flag(row, "gating") is False and state != "not_evaluated":
        state, word = "measured", "as declared" if verdict == "pass" else "not as declared"
    raw = audit.get("differences")
    listed = tuple(str(item) for item in sequence(raw))
    counted = whole(audit, "differences")
    return Audit(
        state=state,
        word=word,
        reason=text(audit, "reason"),
        differences=listed,
        difference_count=len(listed) if sequence(raw) or raw == [] else counted,
    )
