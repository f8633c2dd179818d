"""The function that tells coremltools which operations to convert to FP16.

>>> selector = PrecisionSelector(load_recipe("mixed"))
>>> ct.convert(..., compute_precision=ct.transform.FP16ComputePrecision(op_selector=selector))
>>> selector.check()

coremltools asks about every operation, constants included, right before it puts casts around those
that shall run in FP16. Four kinds are not the selector's to decide: a ``const`` (its consumers
decide, by casting it), a ``cast``, what passes values on to blocks, lists and states (coremltools
never casts there), and an operation with a constant over 65504, which coremltools keeps in FP32
unasked. `harness.conversion.audit` sees the latter as a difference from the recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.conversion.compression import has_weights
from harness.conversion.recipes import (
    DescribedOperation,
    PrecisionRecipe,
    RuleCount,
    Weights,
    check_every_pattern_matched,
    count_rules,
)
from harness.conversion.scopes import module_scopes
from harness.conversion.survey import base_name
from harness.errors import RecipeError

UNDECIDED_TYPES = frozenset(
    {
        "const", "cast", "cond", "while_loop", "make_list", "list_gather", "list_scatter",
        "list_read", "list_write", "list_length", "read_state", "write_state",
        "coreml_update_state",
    }
)  # fmt: skip
"""Operation types that have no precision of their own.

Source: ``_UNSUPPORTED_FP16_OPS`` of ``converters/mil/mil/passes/defs/quantization.py`` in
coremltools.
"""


class PrecisionSelector:
    """Callable with a coremltools ``Operation``: True to run it in FP16.

    It remembers the operations that it was asked about, to count what each rule matched. Asking
    again about the same operation changes nothing.

    Args:
        recipe: what decides.
        module_path: gives the PyTorch module path of an operation. By default its scopes joined by
            dots, in which a plain ``nn.ModuleList`` doesn't show.
    """

    def __init__(
        self, recipe: PrecisionRecipe, module_path: Callable[[Any], str | None] | None = None
    ) -> None:
        self.recipe = recipe
        self._module_path = module_path or (lambda met: ".".join(module_scopes(met)))
        self._seen: dict[str, DescribedOperation] = {}

    def __call__(self, operation: Any) -> bool:
        """Return whether the recipe wants ``operation`` in FP16.

        Raises:
            RecipeError: a rule asks for the module path of an operation that has none.
        """
        if operation.op_type in UNDECIDED_TYPES:
            return False
        seen = self._seen.get(operation.name)
        if seen is None:
            seen = self._described(operation, operation.name)
            self._seen[operation.name] = seen
        precision = self.recipe.decide(seen)
        if precision is None:
            raise self._untold(seen, operation)
        return precision == "fp16"

    def weights(self, operation: Any) -> Weights:
        """Return how the recipe wants the weights of ``operation`` stored, at any later stage.

        Raises:
            RecipeError: a rule asks for the module path of an operation that has none.
        """
        name = base_name(operation.name, [value.name for value in operation.outputs])
        described = self._described(operation, name)
        decision = self.recipe.decide_weights(described)
        if decision is None:
            raise self._untold(described, operation)
        return decision

    def _described(self, operation: Any, name: str) -> DescribedOperation:
        module = self._module_path(operation)
        return DescribedOperation(operation.op_type, name, module, has_weights(operation))

    def _untold(self, described: DescribedOperation, operation: Any) -> RecipeError:
        return RecipeError(
            f"precision recipe {self.recipe.name!r} has a rule by module, and the module of "
            f"operation {described.name!r} ({described.type}) can't be told from its scopes "
            f"{list(module_scopes(operation))}"
        )

    @property
    def operations(self) -> tuple[DescribedOperation, ...]:
        """The operations that it was asked about, in order."""
        return tuple(self._seen.values())

    def report(self) -> tuple[RuleCount, ...]:
        """Return what each rule matched so far."""
        return count_rules(self.recipe, self._seen.values())

    def check(self) -> None:
        """Raise `RecipeError` if a pattern of a rule that isn't optional matched nothing so far."""
        check_every_pattern_matched(self.recipe, self.report())
