"""What a precision recipe is: a default precision and rules that override it.

A rule gives a ``precision``, or says how ``weights`` are stored, or both. Weights are the constants
of an operation that coremltools compresses: floats of two or more dimensions and more than 2,048
elements. Without a rule they are stored as floats, in the precision of their operation.

============================  =================================================================
``int8``                      linear and symmetric, a scale for each output channel
``palette8``, ``6`` and ``4`` a table of 2^bits values for each tensor, by k-means
``float``                     as they are; for exceptions to an earlier rule
============================  =================================================================

A rule names operations by any of three things, and an operation must fit all that the rule gives:

===========  ==================================================================================
``types``    MIL operation types, as globs: ``conv``, ``reduce_*``
``names``    operation names, as globs, without the suffix ``_cast_fp16`` that conversion adds
``modules``  PyTorch module paths as the checkpoint spells them, as globs: ``encoder.0.dconv``.
             A glob covers a module with everything inside it; ``*`` crosses dots.
===========  ==================================================================================

Rules are read in order and the *last* one that matches decides, on precision and on weights apart,
so a recipe goes from the general to the particular. An operation that no rule matches gets the
default. A rule on weights alone matches no operation that has none.

Every pattern must match an operation of the model, unless its rule is optional: a pattern that
matches nothing protects nothing, and its author believes that it does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, TypeVar, get_args

from harness.errors import RecipeError
from harness.rewriting import REWRITINGS

Precision = Literal["fp16", "fp32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Weights = Literal["float", "int8", "palette8", "palette6", "palette4"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
_Decision = TypeVar("_Decision", bound=str)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class DescribedOperation:
    """What a recipe sees of an operation.

    Attributes:
        type: MIL operation type.
        name: its name without the suffix that conversion adds.
        module: dotted path of the PyTorch module that it was made from, "" for the model itself;
            None where it isn't known.
        has_weights: whether it has constants that can be compressed.
    """

    type: str
    name: str
    module: str | None
    has_weights: bool = False


@dataclass(frozen=True)
class PrecisionRule:
    """One override of the defaults; see the module's docstring for what it matches."""

    precision: Precision | None = None
    types: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    optional: bool = False
    reason: str = ""
    weights: Weights | None = None

    def __str__(self) -> str:
        found = "; ".join(f"{kind} {', '.join(items)}" for kind, items in self._kinds if items)
        return f"{self.decision} for {found}{' (optional)' if self.optional else ''}"

    @property
    def decision(self) -> str:
        """What it gives to the operations that it matches, such as ``fp16, int8 weights``."""
        weights = None if self.weights is None else f"{self.weights} weights"
        return ", ".join(filter(None, (self.precision, weights)))

    @property
    def patterns(self) -> tuple[str, ...]:
        """Every pattern with its kind, such as ``types: conv``."""
        return tuple(f"{kind}: {pattern}" for kind, patterns in self._kinds for pattern in patterns)

    def matching(self, operation: DescribedOperation) -> tuple[str, ...] | None:
        """Return the patterns that match, empty if the rule doesn't.

        None means that it can't be told, because the rule asks for the module path of an operation
        whose module path isn't known.
        """
        if self.precision is None and not operation.has_weights:
            return ()
        hits: list[str] = []
        for kind, patterns, value in (
            ("types", self.types, operation.type),
            ("names", self.names, operation.name),
        ):
            found = [f"{kind}: {pattern}" for pattern in patterns if fnmatchcase(value, pattern)]
            if patterns and not found:
                return ()
            hits += found
        if not self.modules:
            return tuple(hits)
        if operation.module is None:
            return None
        paths = [operation.module, *_ancestors(operation.module)]
        found = [
            f"modules: {pattern}"
            for pattern in self.modules
            if any(fnmatchcase(path, pattern) for path in paths)
        ]
        return tuple(hits + found) if found else ()

    def to_toml_lines(self) -> list[str]:
        """Return the lines of this rule's TOML table."""
        given = (("precision", self.precision), ("weights", self.weights))
        lines = [f"{key} = {_quote(value)}" for key, value in given if value is not None]
        for kind, patterns in self._kinds:
            lines += _toml_list(kind, patterns)
        if self.optional:
            lines.append("optional = true")
        if self.reason:
            lines.append(f"reason = {_quote(self.reason)}")
        return lines

    @property
    def _kinds(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (("types", self.types), ("names", self.names), ("modules", self.modules))


def check_recipe_name(name: str) -> None:
    """Check that a precision recipe may be called so.

    Raises:
        RecipeError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise RecipeError(
            f"a precision recipe can't be called {name!r}; expected lower-case letters, digits, "
            "dots, dashes and underscores, the first a letter or a digit"
        )


@dataclass(frozen=True)
class PrecisionRecipe:
    """A named rule set that gives each operation of a program its precision.

    Attributes:
        name: lower-case letters, digits, dots, dashes and underscores.
        default: the precision of an operation that no rule matches.
        rules: in order; the last one that matches decides.
        gating: a run fails when a package made by this recipe fails. Others are only measured.
        gates: the gates that it must pass if it is gating; empty means all. A recipe that is tuned
            for the stems claims nothing about every element of the branches.
        subjects: architectures that it is for; empty means any. Names of operations belong to one.
        rewrites: passes of `harness.rewriting` that are applied before precisions are chosen.
        description: one sentence for people.
        source: where the rules were published, or how they were found.
    """

    name: str
    default: Precision
    rules: tuple[PrecisionRule, ...] = ()
    gating: bool = False
    gates: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    rewrites: tuple[str, ...] = ()
    description: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        check_recipe_name(self.name)
        recipe = f"precision recipe {self.name!r}"
        _check_one_of(PRECISIONS, f"{recipe}: key 'default'", self.default)
        for name in self.rewrites:
            _check_one_of(tuple(REWRITINGS), f"{recipe}: key 'rewrites'", name)
        for number, rule in enumerate(self.rules, start=1):
            where = f"{recipe}: rule {number}"
            if rule.precision is None and rule.weights is None:
                raise RecipeError(f"{where} decides nothing: give it 'precision' or 'weights'")
            if rule.precision is not None:
                _check_one_of(PRECISIONS, f"{where}: key 'precision'", rule.precision)
            if rule.weights is not None:
                _check_one_of(WEIGHTS, f"{where}: key 'weights'", rule.weights)
            if not rule.patterns:
                raise RecipeError(
                    f"{where} matches everything: give it 'types', 'names' or 'modules', "
                    "or change the recipe's default"
                )
            for kind, patterns in rule._kinds:
                if "" in patterns:
                    raise RecipeError(f"{where}: key {kind!r} has an empty pattern")

    def must_pass(self, gate: str) -> bool:
        """Return whether a run rests on this recipe's passing ``gate``."""
        return self.gating and (not self.gates or gate in self.gates)

    def is_for(self, subject: str) -> bool:
        """Return whether the recipe is meant for ``subject``, named as ``NAME[@WEIGHTS]``."""
        return not self.subjects or subject.partition("@")[0] in self.subjects

    @property
    def is_uniform(self) -> bool:
        """Whether every operation has the default precision, whatever the program is."""
        return all(rule.precision in (None, self.default) for rule in self.rules)

    @property
    def is_fp32(self) -> bool:
        """Whether it leaves every operation and every weight in FP32."""
        return self.default == "fp32" and self.is_uniform and not self.compresses

    @property
    def compresses(self) -> bool:
        """Whether a rule stores weights as anything but floats."""
        return any(rule.weights not in (None, "float") for rule in self.rules)

    def decide(self, operation: DescribedOperation) -> Precision | None:
        """Return the precision of ``operation``; None if an unknown module path would decide."""
        return self._decide(operation, lambda rule: rule.precision, self.default)

    def decide_weights(self, operation: DescribedOperation) -> Weights | None:
        """Return how the weights of ``operation`` are stored; None as for `decide`."""
        if not operation.has_weights:
            return "float"
        return self._decide(operation, lambda rule: rule.weights, "float")

    def _decide(
        self,
        operation: DescribedOperation,
        given: Callable[[PrecisionRule], _Decision | None],
        default: _Decision,
    ) -> _Decision | None:
        possible: set[_Decision] = set()
        for rule in reversed(self.rules):
            decision = given(rule)
            hits = () if decision is None else rule.matching(operation)
            if decision is None or hits == ():
                continue
            possible.add(decision)
            if hits is not None:
                break
        else:
            possible.add(default)
        return possible.pop() if len(possible) == 1 else None

    def to_toml(self) -> str:
        """Return the recipe as TOML that `parse_recipe` reads back as an equal one."""
        lines = [
            f"name = {_quote(self.name)}",
            f"description = {_quote(self.description)}",
            f"source = {_quote(self.source)}",
            f"gating = {str(self.gating).lower()}",
            *_toml_list("gates", self.gates),
            *_toml_list("subjects", self.subjects),
            *_toml_list("rewrites", self.rewrites),
            f"default = {_quote(self.default)}",
        ]
        for rule in self.rules:
            lines += ["", "[[rules]]", *rule.to_toml_lines()]
        return "\n".join(lines) + "\n"


def _ancestors(path: str) -> Iterable[str]:
    while "." in path:
        path = path.rpartition(".")[0]
        yield path


def _check_one_of(known: Sequence[str], where: str, value: str) -> None:
    if value not in known:
        raise RecipeError(f"{where}: expected one of {', '.join(known)}, found {value!r}")


def _toml_list(key: str, items: Sequence[str]) -> list[str]:
    if len(items) < 2:
        return [f"{key} = [{_quote(item)}]" for item in items]
    return [f"{key} = [", *(f"  {_quote(item)}," for item in items), "]"]


def _quote(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
