"""A few operations of a program as a program of their own.

A mutated operation is executed alone, on the values that the original's neighbours made; so one
plan of the whole program serves all of its mutants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from harness.mil import Model
from harness.mil.editing import key
from harness.mil.program import Block, Function, Operation, Variable, verify


class Fragments:
    """Makes models of some operations of ``model``, and runs them."""

    def __init__(self, model: Model) -> None:
        self._model = model
        operations = model.plan.function.block.operations
        self._constants = {key(o): o for o in operations if o.type == "const"}

    def model(self, operations: Sequence[Operation], results: Sequence[str]) -> Model:
        """Return a model of ``operations`` alone.

        Its inputs are the values that they read, its outputs are called ``results``.

        Raises:
            PackageError, UnsupportedOperationError: they don't fit together.
        """
        plan = self._model.plan
        made = {variable.name for operation in operations for variable in operation.outputs}
        read = dict.fromkeys(name for operation in operations for name in operation.input_names)
        needed = [self._constants[name] for name in read if name in self._constants]
        inputs = tuple(
            Variable(name, plan.types[plan.slots[name]])
            for name in read
            if name not in self._constants and name not in made
        )
        block = Block((), tuple(results), (*needed, *operations))
        function = Function(plan.function.name, inputs, plan.function.opset, block)
        verify(function)
        package = self._model.package
        return Model.of(package, function)

    def run(
        self,
        operations: Sequence[Operation],
        results: Sequence[str],
        values: Mapping[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Execute ``operations`` on those of ``values`` that they read, and return ``results``.

        Raises:
            PackageError, UnsupportedOperationError: as `model`.
            ExecutionError: an operation failed, or its result is not what the program declares.
        """
        part = self.model(operations, results)
        return part.run({feature.name: values[feature.name] for feature in part.inputs})
