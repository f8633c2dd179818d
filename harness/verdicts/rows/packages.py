"""What a run keeps of packages and of the network that they are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.verdicts.checks import Verdict
from harness.verdicts.jsondata import Count


@dataclass(frozen=True)
class Stage:
    """A part of a network.

    Attributes:
        prefix: how the paths of its modules begin, in whole names.
        name: in words; empty for what is no part of its own.
        branch: that it belongs to; empty for all of them.
    """

    prefix: str
    name: str
    branch: str


@dataclass(frozen=True)
class NetworkOutline:
    """How a subject is built, as far as figures name its parts.

    Attributes:
        sources: what it separates, in order.
        branches: in which it computes side by side; names are drawn of the first one.
        stages: in program order.
    """

    subject: str
    sources: tuple[str, ...]
    branches: tuple[str, ...]
    stages: tuple[Stage, ...]

    def stage_of(self, module: str) -> Stage | None:
        """Return the stage that a module is in: the one whose prefix says most of its path."""
        path = f"{module}."
        known = [stage for stage in self.stages if path.startswith(f"{stage.prefix}.")]
        return max(known, key=lambda stage: len(stage.prefix), default=None)


@dataclass(frozen=True)
class Split:
    """How many operations run in each precision; ``other`` is integers and booleans."""

    fp16: Count = 0
    fp32: Count = 0
    other: Count = 0

    @property
    def total(self) -> int:
        """The number of operations."""
        return self.fp16 + self.fp32 + self.other

    def __add__(self, more: Split) -> Split:
        return Split(self.fp16 + more.fp16, self.fp32 + more.fp32, self.other + more.other)


@dataclass(frozen=True)
class Rule:
    """One rule of a recipe, and how many operations it matched."""

    rule: str
    precision: str
    matched: Count
    optional: bool

    @property
    def idle(self) -> bool:
        """Whether it matched nothing although it had to."""
        return not self.matched and not self.optional


@dataclass(frozen=True)
class PackageAudit:
    """Whether the package's precision map equals the recipe; ``differences`` are the first ones."""

    verdict: Verdict
    reason: str
    differences: tuple[str, ...]


@dataclass(frozen=True)
class PackageDescription:
    """A package as its recipe made it.

    Attributes:
        gating: whether its recipe must pass.
        source: where the recipe comes from.
        counts: by operation type.
        rules: of the recipe.
        size_bytes: of the package.
        reused: whether it was made by an earlier run from the same weights, recipe, versions and
            code, and taken from a store.
    """

    subject: str
    recipe: str
    gating: bool
    source: str
    counts: Mapping[str, Split]
    rules: tuple[Rule, ...]
    size_bytes: Count
    audit: PackageAudit
    reused: bool = False


@dataclass(frozen=True)
class Explanation:
    """Why a run is as it is: the path of somebody who debugs it, with an answer at each step.

    Attributes:
        steps: in the order in which they are asked.
        commands: to go on with.
    """

    steps: tuple[Step, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One question with its answer, and lines of evidence."""

    question: str
    answer: str
    evidence: tuple[str, ...]
