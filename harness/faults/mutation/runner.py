"""One program on one input: the unmutated run, and mutants that start from where it stands.

The unmutated program is executed one operation at a time, so at any moment only the values that are
still needed exist. A mutant starts from these at its operation and goes on until the first check
that fails; only what no check sees runs to the end. No value is ever overwritten, so every mutant
starts from the same bits, whatever ran before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from harness.errors import ExecutionError, PackageError, ParityError
from harness.faults.mutation.detector import Change, Detection, Detector, UnmutatedOutputs
from harness.faults.operators.site import Mutant
from harness.mil import Model
from harness.mil.editing import key
from harness.mil.program import Block, Function, Operation, Variable, verify


@dataclass(frozen=True)
class MutantRun:
    """What became of a mutant on one input.

    Attributes:
        invalid: why it could not be executed; "" if it could.
        equivalent: its operation still made the same bits, so nothing was mutated.
        detection: the first check that failed; None if none did, or none was asked.
        change: what it does to the outputs, where it ran to the end.
    """

    invalid: str = ""
    equivalent: bool = False
    detection: Detection | None = None
    change: Change | None = None

    @property
    def ended(self) -> bool:
        """Whether a check failed, or the mutant could not be executed: nothing is left to ask."""
        return self.detection is not None or bool(self.invalid)

    @property
    def matters(self) -> bool:
        """Whether an output changed by more than its tolerance; False where it was not measured."""
        return self.change is not None and self.change.matters


class _Detected(Exception):
    """Leaves a run at the first check that fails."""

    def __init__(self, detection: Detection) -> None:
        super().__init__()
        self.detection = detection


class Fragments:
    """Runs some operations of ``model`` as a program of their own.

    A mutated operation is executed alone, on the values that the original's neighbours made; so one
    plan of the whole program serves all of its mutants.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        operations = model.plan.function.block.operations
        self._constants = {key(o): o for o in operations if o.type == "const"}

    def run(
        self,
        operations: Sequence[Operation],
        results: Sequence[str],
        values: Mapping[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Execute ``operations`` on those of ``values`` that they read, and return ``results``.

        Raises:
            PackageError, UnsupportedOperationError: they don't fit together.
            ExecutionError: an operation failed, or its result is not what the program declares.
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
        part = Model.of(self._model.package, function)
        return part.run({feature.name: values[feature.name] for feature in part.inputs})


class MutantRunner:
    """A model on one input.

    Args:
        model: the unmutated program.
        name: of the input.
        inputs: arrays by name.
        detector: the expected tensors; None where the outputs are only compared with the unmutated.
        sources: names of the stems that ``freq`` and ``time`` come to; none where there are none.

    Raises:
        ParityError: the unmutated program fails a check itself.
    """

    def __init__(
        self,
        model: Model,
        name: str,
        inputs: Mapping[str, np.ndarray],
        detector: Detector | None,
        sources: Sequence[str] = (),
    ) -> None:
        self._model, self._detector = model, detector
        self._fragments = Fragments(model)
        self._position = 0
        self._values = {key: torch.from_numpy(array) for key, array in inputs.items()}
        detection, outputs = self._finish(self._values, 0, self._values)
        if detection is not None:
            raise ParityError(
                f"the unmutated program fails {detection.gate} at {detection.tensor} on {name}; "
                "mutations of it would prove nothing: see 'parity check'"
            )
        self._unmutated = UnmutatedOutputs(name, outputs, sources)

    def run(self, mutants: Sequence[Mutant], *, judged: bool = True) -> list[MutantRun]:
        """Return what becomes of mutants of one operation.

        Args:
            mutants: of one operation, which is not before that of an earlier call.
            judged: stop at the first check that fails; otherwise ask no check, run to the end and
                measure what changed.
        """
        (index,) = {mutant.index for mutant in mutants}
        if index < self._position:
            raise ParityError(f"operation {index} was passed already, at {self._position}")
        self._values = self._model.resume(self._values, self._position, index)
        self._position = index
        after = self._model.resume(self._values, index, index + 1)
        return [self._run(mutant, after, judged=judged) for mutant in mutants]

    def _run(self, mutant: Mutant, after: Mapping[str, torch.Tensor], *, judged: bool) -> MutantRun:
        operation = self._model.operations[mutant.index]
        results = [variable.name for variable in operation.outputs]
        try:
            made = self._fragments.run(mutant.operations, results, self._values)
        except (ExecutionError, PackageError) as error:
            return MutantRun(invalid=str(error))
        read = {name: tensor for name, tensor in made.items() if name in after}
        if all(torch.equal(tensor, after[name]) for name, tensor in read.items()):
            return MutantRun(equivalent=True)
        try:
            values = {**after, **read}
            detection, outputs = self._finish(values, mutant.index + 1, read, judged=judged)
        except ExecutionError as error:
            return MutantRun(invalid=str(error))
        if judged:
            return MutantRun(detection=detection)
        return MutantRun(change=self._unmutated.change(outputs))

    def _finish(
        self,
        values: Mapping[str, torch.Tensor],
        first: int,
        made: Mapping[str, torch.Tensor],
        *,
        judged: bool = True,
    ) -> tuple[Detection | None, dict[str, np.ndarray]]:
        """Run from ``first`` to the end, or to the first check that fails.

        ``made`` are the values that are new; nothing is checked that does not depend on them.
        """
        detector = self._detector if judged else None
        touched: set[str] = set()

        def look(name: str, tensor: torch.Tensor) -> None:
            touched.add(name)
            detection = detector.at(name, tensor) if detector else None
            if detection is not None:
                raise _Detected(detection)

        def observe(operation: Operation, results: tuple[torch.Tensor, ...]) -> None:
            if not touched.isdisjoint(operation.input_names):
                for variable, tensor in zip(operation.outputs, results, strict=True):
                    look(variable.name, tensor)

        try:
            for name, tensor in made.items():
                look(name, tensor)
            returned = self._model.resume(values, first, observe=observe)
        except _Detected as seen:
            return seen.detection, {}
        outputs = {name: tensor.numpy() for name, tensor in returned.items()}
        return detector.end(outputs) if detector else None, outputs
