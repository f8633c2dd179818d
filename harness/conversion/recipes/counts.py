"""What each rule of a recipe matches in a program: a pattern that matches nothing is an error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from harness.conversion.recipes.recipe import DescribedOperation, PrecisionRecipe, PrecisionRule
from harness.errors import RecipeError

_NAMED: Final = 5
_OF_ANOTHER_TRACE: Final = (
    "names are those of a trace, which PyTorch gives by its version, here {}: tune it again, or "
)


@dataclass(frozen=True)
class RuleCount:
    """How many operations a rule met.

    Attributes:
        number: of the rule in its recipe, from 1.
        rule: the rule.
        matched: operations that it matches.
        decided: those of them on which no later rule decides the same again.
        patterns: for each pattern, the operations that it matches within the rule.
        unknown: operations of which it can't be told, for lack of a module path.
    """

    number: int
    rule: PrecisionRule
    matched: int
    decided: int
    patterns: tuple[tuple[str, int], ...]
    unknown: int

    @property
    def idle_patterns(self) -> tuple[str, ...]:
        """The patterns that match nothing; the rule should have been marked optional."""
        if self.rule.optional or self.unknown:
            return ()
        return tuple(pattern for pattern, count in self.patterns if count == 0)


def count_rules(
    recipe: PrecisionRecipe, operations: Iterable[DescribedOperation]
) -> tuple[RuleCount, ...]:
    """Count what each rule of ``recipe`` matches among ``operations``."""
    matched = [0] * len(recipe.rules)
    decided = [0] * len(recipe.rules)
    unknown = [0] * len(recipe.rules)
    patterns = [dict.fromkeys(rule.patterns, 0) for rule in recipe.rules]
    for operation in operations:
        last: dict[str, int] = {}
        for index, rule in enumerate(recipe.rules):
            hits = rule.matching(operation)
            if hits is None:
                unknown[index] += 1
            elif hits:
                if rule.precision is not None:
                    last["precision"] = index
                if rule.weights is not None and operation.has_weights:
                    last["weights"] = index
                matched[index] += 1
                for pattern in hits:
                    patterns[index][pattern] += 1
        for index in set(last.values()):
            decided[index] += 1
    return tuple(
        RuleCount(
            index + 1,
            rule,
            matched[index],
            decided[index],
            tuple(patterns[index].items()),
            unknown[index],
        )
        for index, rule in enumerate(recipe.rules)
    )


def check_every_pattern_matched(recipe: PrecisionRecipe, counts: Sequence[RuleCount]) -> None:
    """Raise `RecipeError` if a pattern of a rule that isn't optional matched no operation."""
    for count in counts:
        if count.idle_patterns:
            idle, more = count.idle_patterns[:_NAMED], len(count.idle_patterns) - _NAMED
            also = f" and {more} more" if more > 0 else ""
            names = any(pattern.startswith("names: ") for pattern in idle)
            raise RecipeError(
                f"precision recipe {recipe.name!r}: rule {count.number}: {', '.join(idle)}{also} "
                "matches no operation of this model"
                f"{' that has weights' if count.rule.precision is None else ''}; "
                f"{_OF_ANOTHER_TRACE.format(version('torch')) if names else ''}"
                "correct it, or put it into a rule of its own with 'optional = true' and the reason"
            )
