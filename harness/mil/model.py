"""A model that can be executed: the public face of this room.

``load(path)`` opens a package; ``Model.predict`` runs it on NumPy arrays, ``Model.run`` on PyTorch
tensors. Shapes and element types are those that the package declares.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.errors import ContractError, PackageError
from harness.mil.assignment import OperationNumerics, assignment
from harness.mil.bound import address
from harness.mil.description import Description
from harness.mil.executor import Executable, Observer
from harness.mil.features import all_features, check_names, complete_inputs
from harness.mil.numerics import Numerics, get_numerics
from harness.mil.package import Package, open_package
from harness.mil.plan import Plan
from harness.mil.planning import build_plan
from harness.mil.program import Function, Operation
from harness.mil.refusals import warn_of_refusals
from harness.mil.schedule import Schedule, build_schedule, build_stretch
from harness.mil.state import State, cells_of
from harness.mil.taps import Taps, select_taps
from harness.mil.types import StateType, TensorType
from harness.mil.values import Value


def load(path: str | Path, *, function: str | None = None) -> Model:
    """Open the ``.mlpackage`` or ``.mlmodelc`` at ``path`` and plan one of its functions.

    Args:
        path: the package's folder.
        function: which function of the program; the package's default one where it is not given.

    Raises:
        PackageError: no package, a broken one, or not an ML Program.
        UnsupportedOperationError: it uses an operation that the executor does not know.

    Warns:
        RefusedByCoreMLWarning: the executor runs it, but Core ML does not.
    """
    try:
        package = open_package(path)
        names = list(package.program.functions)
        chosen = function or (names[0] if len(names) == 1 else package.default_function)
        model = Model.of(package, package.program.function(chosen))
        warn_of_refusals(model.plan.function, package.constants.array)
    except MemoryError as error:
        raise PackageError(f"{path} does not fit into memory") from error
    return model


def opened(package: str | Path | Package | Model) -> Package:
    """Return the package of a model or at a path; an opened one as it is.

    Raises:
        PackageError: as `open_package`.
    """
    if isinstance(package, Model):
        return package.package
    return package if isinstance(package, Package) else open_package(package)


class Model:
    """An ML Program with one function chosen; made by `load`.

    Attributes:
        package: what was opened.
        function: name of the chosen function.
        inputs: what `predict` takes, in declared order. An input whose shape has ``None`` is
            flexible: its ``rule`` says which shapes it takes; one with a ``default`` may be left
            out.
        outputs: what `predict` returns, in declared order. A dimension that depends on the inputs
            is ``None``.
        states: what lives between predictions; see `new_state`.
        operations: all operations of the function but constants and those inside blocks, in
            program order; each has a type, a name, ``dtype`` (declared element type of the first
            output), ``input_names``, ``outputs`` with declared types, and ``location.index``.
        metadata: user-defined and standard metadata of the package.
    """

    @classmethod
    def of(cls, package: Package, function: Function) -> Model:
        """Plan ``function``, a verified one whose constants ``package`` reads.

        Raises:
            As `load`.
        """
        return cls(package, build_plan(function, package.constants.array))

    def __init__(self, package: Package, plan: Plan) -> None:
        self.package = package
        self.plan = plan
        self.function = plan.function.name
        self.metadata = dict(package.metadata)
        described = package.descriptions.get(self.function, Description())
        takes = {name: plan.types[slot] for name, slot in plan.inputs.items()}
        states = {name: type for name, type in takes.items() if isinstance(type, StateType)}
        returns = {name: plan.types[plan.slots[name]] for name in plan.outputs}
        inputs = {name: type for name, type in takes.items() if name not in states}
        self.inputs = all_features(inputs, described.inputs)
        self.outputs = all_features(returns, described.outputs)
        self.states = all_features(states, described.states)
        self.operations: tuple[Operation, ...] = tuple(step.operation for step in plan.steps)
        self._executables: dict[tuple[Numerics, str], Executable] = {}
        self._schedules: dict[tuple[frozenset[int], bool], Schedule] = {}

    def new_state(self) -> State:
        """Return a state of zeros, to be given to `predict` or `run` as ``state``.

        Raises:
            ContractError: the model has no states.
        """
        if not self.states:
            raise ContractError(f"{self.package.path} has no states")
        return State(self.states)

    def predict(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        state: State | None = None,
        taps: Taps | str = (),
        numerics: str | Numerics = "storage",
        operation_numerics: OperationNumerics | None = None,
        observe: Observer | None = None,
    ) -> dict[str, Any]:
        """Execute the model.

        Args:
            inputs: an array for each of `inputs`, of its shape and exactly its type (in
                ``float64`` numerics floating inputs may be float64, too); optional ones may be
                left out.
            state: what this prediction reads and changes; required if and only if the model has
                states.
            taps: names of operation outputs to return as well, or patterns (``*``, ``?``, ``[]``);
                ``"all"`` returns every one, which needs memory for every intermediate. Values
                inside branches and loops, and lists, can't be tapped.
            numerics: ``storage``, ``float64``, ``native`` or ``fp16_accumulate``, each also with
                ``+ftz``; see `harness.mil.numerics`.
            operation_numerics, observe: as in `run`.

        Returns:
            An array for each output, then each tap, in its declared type; floating ones are
            float64 in ``float64`` numerics. A classifier's label is a ``str`` or an integer array,
            its probabilities a ``dict`` from label to ``float``.

        Raises:
            ContractError: an input or the state is missing, unknown, or has another shape or type.
            UnknownNameError: a tap or the numerics does not exist.
            ExecutionError: an operation failed, or the time of `harness.mil.time_limit` is over;
                the state is as it was.
        """
        chosen = get_numerics(numerics)
        names = self.tap_names(taps)
        check_names(inputs, self.inputs, self.package.path)
        tensors = {}
        for feature in self.inputs:
            if feature.name in inputs:
                given = feature.check_array(inputs[feature.name], chosen, self.package.path)
                tensors[feature.name] = chosen.from_numpy(given, feature.dtype)
        results = self.run(
            tensors,
            state=state,
            taps=names,
            numerics=chosen,
            operation_numerics=operation_numerics,
            observe=observe,
        )
        foreign = {address(tensor) for tensor in tensors.values()}
        foreign.update(self.executable(chosen, torch.device("cpu")).memory)
        if state is not None:
            foreign.update(
                address(cell.value) for cell in state.cells(chosen, torch.device("cpu")).values()
            )
        return {name: self._array(name, value, chosen, foreign) for name, value in results.items()}

    def _array(self, name: str, value: Value, numerics: Numerics, foreign: set[int]) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        declared = self.plan.types[self.plan.slots[name]]
        assert isinstance(declared, TensorType)  # checked when the operation gave a tensor
        array = numerics.to_numpy(value, declared.dtype)
        return array.copy() if address(value) in foreign else array

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        *,
        state: State | None = None,
        taps: Taps | str = (),
        numerics: str | Numerics = "storage",
        operation_numerics: OperationNumerics | None = None,
        observe: Observer | None = None,
        differentiable: bool = False,
    ) -> dict[str, Any]:
        """Execute the model on tensors; the results stay in their carrier types.

        Args:
            inputs: a tensor for each of `inputs`, of its shape, in the carrier type of the
                numerics (float32 for fp16 and fp32 in ``storage``), all on one device; optional
                ones may be left out.
            state: as in `predict`. Results may share its memory: do not write to them.
            taps: as in `predict`.
            numerics: as in `predict`.
            operation_numerics: a function from an operation to the numerics in which it alone is
                computed and stored; ``None`` from it means ``numerics``. For example
                ``lambda o: "fp16_accumulate" if o.name == "linear_3" else None``. Inputs and
                constants are held as ``numerics`` says, and every numerics that the function
                returns must carry values as that does (``storage`` and ``fp16_accumulate`` do,
                ``float64`` and ``native`` carry theirs).
            observe: called after each operation whose results are tensors as
                ``observe(operation, outputs)``, for operations inside branches and loops each time
                that they run; the tensors are valid during the call only, so statistics of all
                intermediates cost no memory.
            differentiable: record gradients through every operation, also those of the branches
                taken and the loops run; nothing is overwritten and roundings pass gradients
                unchanged. Gradients do not reach through a state into an earlier prediction.

        Raises:
            As `predict`.
        """
        chosen = get_numerics(numerics)
        wanted = [feature.name for feature in self.outputs]
        wanted += [name for name in self.tap_names(taps) if name not in wanted]
        slots = [self.plan.slots[name] for name in wanted]
        device = next(iter(inputs.values())).device if inputs else torch.device("cpu")
        owner = self.package.path
        cells = cells_of(state, self.states, chosen, device, owner)
        tensors = complete_inputs(self.inputs, inputs, chosen, device, owner)
        given: dict[str, Value] = {**cells, **tensors}
        values = {self.plan.inputs[name]: value for name, value in given.items()}
        executable = self.executable(chosen, device)
        assign = assignment(chosen, operation_numerics)
        schedule = self._schedule(frozenset(slots), reuse=not differentiable)
        with contextlib.nullcontext() if differentiable else torch.no_grad():
            kept = executable.run(schedule, values, observe, assign)
        if state is not None:
            state.take(cells, chosen)
        return {name: kept[slot] for name, slot in zip(wanted, slots, strict=True)}

    def resume(
        self,
        values: Mapping[str, Value],
        first: int,
        stop: int | None = None,
        *,
        numerics: str | Numerics = "storage",
        observe: Observer | None = None,
    ) -> dict[str, Any]:
        """Execute some of `operations`, from values that are known already.

        Args:
            values: by name, every value that was made before ``first`` and is read later, inputs
                included, in the carrier type of the numerics; they stay as they are. To begin with,
                the inputs; then what this method returned.
            first, stop: the operations from ``first`` to before ``stop``, to the end by default.
            numerics, observe: as in `run`.

        Returns:
            By name, every value that is made by now and read from ``stop`` on, and the outputs.

        Raises:
            ContractError: a value is missing.
            ExecutionError: an operation failed.
        """
        chosen = get_numerics(numerics)
        slots, names = self.plan.slots, {slot: name for name, slot in self.plan.slots.items()}
        end = len(self.operations) if stop is None else stop
        schedule, needed = build_stretch(self.plan, first, end)
        given = {slots[name]: value for name, value in values.items()}
        missing = {names[slot]: slot for slot in needed - given.keys()}
        if missing:
            raise ContractError(
                f"{self.package.path} needs the values {', '.join(sorted(missing))} to go on from "
                f"operation {first}, but they were not given"
            )
        tensors = [value for value in values.values() if isinstance(value, torch.Tensor)]
        device = tensors[0].device if tensors else torch.device("cpu")
        with torch.no_grad():
            kept = self.executable(chosen, device).run(schedule, given, observe)
        return {names[slot]: value for slot, value in kept.items()}

    def tap_names(self, taps: Taps | str) -> list[str]:
        """Return the operation outputs that ``taps`` stands for; see `harness.mil.taps`."""
        return select_taps(self.operations, taps)

    def returned_bytes(self, taps: Taps | str = ()) -> int:
        """Return what the outputs and taps take in their declared types, as far as shapes say."""
        names = {feature.name for feature in self.outputs} | set(self.tap_names(taps))
        types = (self.plan.types[self.plan.slots[name]] for name in names)
        return sum(
            type_.count * type_.dtype.numpy.itemsize
            for type_ in types
            if isinstance(type_, TensorType) and type_.is_static
        )

    def executable(self, numerics: Numerics, device: torch.device) -> Executable:
        """Return what runs the plan, for tools that go their own way through it."""
        key = (numerics, str(device))
        if key not in self._executables:
            read = self.package.constants.array
            self._executables[key] = Executable.of(self.plan, numerics, device, read)
        return self._executables[key]

    def _schedule(self, kept: frozenset[int], *, reuse: bool) -> Schedule:
        key = (kept, reuse)
        if key not in self._schedules:
            self._schedules[key] = build_schedule(self.plan, kept, reuse=reuse)
        return self._schedules[key]
