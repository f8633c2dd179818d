"""The registry of rules: one decorated function is one rule.

::

    @error(source=issue(2576), next_step="pad the other axes one by one")
    def pad_of_other_axes(view: View) -> Iterator[Hit]:
        \"\"\"Reflection or replication pads an axis that is not among the last two.\"\"\"
        for node in view.of("pad"):
            ...
            yield Hit(f"pads axis {axis}, but Core ML ...", node)

The function's name is the rule's, its docstring says what is wrong. It looks at one function of a
program, inner blocks included, and runs nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from harness.errors import ParityError
from harness.lint.finding import Hit, Severity
from harness.lint.view import View

Check: TypeAlias = Callable[[View], Iterator[Hit]]
_REPOSITORY: Final = "https://github.com/apple/coremltools"


@dataclass(frozen=True)
class LintRule:
    """A rule.

    Attributes:
        name: of its function.
        severity: of what it finds.
        wrong: what is wrong, in one sentence.
        source: where it comes from.
        next_step: what to do about it.
        check: looks at a function of a program.
        needs_declarations_only: whether it looks at types and names alone, and so needs no package.
    """

    name: str
    severity: Severity
    wrong: str
    source: str
    next_step: str
    check: Check
    needs_declarations_only: bool = False


_RULES: dict[str, LintRule] = {}


def rule(
    severity: Severity, *, source: str, next_step: str, needs_declarations_only: bool = False
) -> Callable[[Check], Check]:
    """Register the decorated function as a rule; its docstring says what is wrong.

    Raises:
        ParityError: the name is taken, or what is wrong isn't said.
    """

    def register(check: Check) -> Check:
        name = check.__name__
        wrong = " ".join((check.__doc__ or "").split())
        if name in _RULES:
            raise ParityError(f"rule {name!r} is registered twice")
        if not wrong or not source or not next_step:
            raise ParityError(f"rule {name!r} must say what is wrong, its source and a next step")
        _RULES[name] = LintRule(
            name, severity, wrong, source, next_step, check, needs_declarations_only
        )
        return check

    return register


error = partial(rule, Severity.ERROR)
"""Decorates a rule whose findings are errors; takes what `rule` takes by keyword."""
warning = partial(rule, Severity.WARNING)
"""Likewise for warnings."""


def all_rules() -> tuple[LintRule, ...]:
    """Return every rule: errors first, each in the order of registration.

    `harness.lint` imports `harness.lint.rules`, which registers them.
    """
    order = list(Severity)
    return tuple(sorted(_RULES.values(), key=lambda item: order.index(item.severity)))


def select_rules(only: Iterable[str] = (), ignore: Iterable[str] = ()) -> tuple[LintRule, ...]:
    """Return the rules called ``only`` (all, if none is named), without those to ``ignore``.

    Raises:
        ParityError: one doesn't exist, or nothing is left.
    """
    known = {item.name: item for item in all_rules()}
    wanted, unwanted = set(only), set(ignore)
    for name in sorted(wanted | unwanted):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ParityError(f"unknown rule {name!r}{hint} ('parity lint --list' shows all)")
    chosen = tuple(
        item
        for item in known.values()
        if item.name not in unwanted and item.name in (wanted or known)
    )
    if not chosen:
        raise ParityError("no rule is left: --ignore names every one that --rule does")
    return chosen


def issue(*numbers: int) -> str:
    """Return the source of a rule that coremltools' issues or pull requests tell of."""
    return ", ".join(f"{_REPOSITORY}/issues/{number}" for number in numbers)


def code(path: str) -> str:
    """Return the source of a rule that coremltools' own code keeps."""
    return f"coremltools/{path}"
