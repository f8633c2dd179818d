"""A model that can be executed: the public face of this room.

``load(path)`` opens an ``.mlpackage``; ``Model.predict`` runs it on NumPy arrays, ``Model.run`` on
PyTorch tensors. Shapes and element types are those that the package declares.
"""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from harness.errors import ContractError, UnknownNameError
from harness.mil.executor import Executable, Observer
from harness.mil.numerics import Numerics, get_numerics
from harness.mil.package import Package, open_package
from harness.mil.plan import Plan, build_plan
from harness.mil.program import Operation
from harness.mil.schedule import Schedule, build_schedule
from harness.mil.types import DataType, TensorType

Taps = Sequence[str]


@dataclass(frozen=True)
class Feature:
    """An input or output: name, shape (``None`` for a flexible dimension) and element type."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: DataType

    def __str__(self) -> str:
        return f"{self.name}: {TensorType(self.dtype, self.shape)}"


def load(path: str | Path, *, function: str | None = None) -> Model:
    """Open the ``.mlpackage`` at ``path`` and plan it.

    Args:
        path: the package's folder.
        function: which function of the program; ``main``, or the only one, by default.

    Raises:
        PackageError: no package, a broken one, or not an ML Program.
        UnsupportedOperationError: it uses an operation that the executor does not know.
    """
    package = open_package(path)
    names = list(package.program.functions)
    chosen = function or (names[0] if len(names) == 1 else "main")
    planned = build_plan(package.program.function(chosen), package.constants.array)
    return Model(package, planned)


class Model:
    """An ML Program with one function chosen; made by `load`.

    Attributes:
        package: what was opened.
        inputs: what `predict` takes, in declared order.
        outputs: what `predict` returns, in declared order.
        operations: all operations of the function but constants, in program order; each has a
            type, a name, ``dtype`` (declared element type of the first output), ``input_names``,
            ``outputs`` with declared types, and ``location.index``.
        metadata: user-defined and standard metadata of the package.
    """

    def __init__(self, package: Package, plan: Plan) -> None:
        self.package = package
        self.plan = plan
        self.metadata = dict(package.metadata)
        self.inputs = self._features(package.input_names, list(plan.inputs))
        self.outputs = self._features(package.output_names, list(plan.outputs))
        self.operations: tuple[Operation, ...] = tuple(step.operation for step in plan.steps)
        self._executables: dict[tuple[Numerics, str], Executable] = {}
        self._schedules: dict[tuple[frozenset[int], bool], Schedule] = {}

    def _features(self, described: tuple[str, ...], names: list[str]) -> tuple[Feature, ...]:
        # The model's description gives the order; a function that is not the described one has
        # its own.
        ordered = described if sorted(described) == sorted(names) else names
        types = [(name, self.plan.types[self.plan.slots[name]]) for name in ordered]
        return tuple(Feature(name, type_.shape, type_.dtype) for name, type_ in types)

    def predict(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        taps: Taps | str = (),
        numerics: str | Numerics = "storage",
    ) -> dict[str, np.ndarray]:
        """Execute the model.

        Args:
            inputs: an array for each of `inputs`, of exactly its shape and type (in ``float64``
                numerics floating inputs may be float64, too).
            taps: names of operation outputs to return as well, or patterns (``*``, ``?``, ``[]``);
                ``"all"`` returns every one, which needs memory for every intermediate.
            numerics: ``storage`` or ``float64``; see `harness.mil.numerics`.

        Returns:
            An array for each output, then each tap, in its declared type; floating ones are
            float64 in ``float64`` numerics.

        Raises:
            ContractError: an input is missing, unknown, or has another shape or type.
            UnknownNameError: a tap or the numerics does not exist.
            ExecutionError: an operation failed.
        """
        chosen = get_numerics(numerics)
        names = self.tap_names(taps)
        tensors = {
            name: chosen.from_numpy(array, self._input(name).dtype)
            for name, array in self._checked(inputs, chosen).items()
        }
        results = self.run(tensors, taps=names, numerics=chosen)
        aliases = {tensor.untyped_storage().data_ptr() for tensor in tensors.values()}
        aliases.update(
            tensor.untyped_storage().data_ptr()
            for tensor in self._executable(chosen, torch.device("cpu")).constants.values()
        )
        arrays = {}
        for name, tensor in results.items():
            array = chosen.to_numpy(tensor, self.plan.types[self.plan.slots[name]].dtype)
            owned = tensor.untyped_storage().data_ptr() not in aliases
            arrays[name] = array if owned else array.copy()
        return arrays

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        *,
        taps: Taps | str = (),
        numerics: str | Numerics = "storage",
        observe: Observer | None = None,
        differentiable: bool = False,
    ) -> dict[str, torch.Tensor]:
        """Execute the model on tensors; the results stay in their carrier types.

        Args:
            inputs: a tensor for each of `inputs`, of its shape, in the carrier type of the
                numerics (float32 for fp16 and fp32 in ``storage``), all on one device.
            taps: as in `predict`.
            numerics: as in `predict`.
            observe: called after each operation as ``observe(operation, outputs)``; the tensors
                are valid during the call only, so statistics of all intermediates cost no memory.
            differentiable: record gradients through every operation; nothing is overwritten and
                roundings pass gradients unchanged.

        Raises:
            As `predict`.
        """
        chosen = get_numerics(numerics)
        wanted = [feature.name for feature in self.outputs]
        wanted += [name for name in self.tap_names(taps) if name not in wanted]
        slots = [self.plan.slots[name] for name in wanted]
        tensors = self._checked_tensors(inputs, chosen)
        device = next(iter(tensors.values())).device if tensors else torch.device("cpu")
        executable = self._executable(chosen, device)
        schedule = self._schedule(frozenset(slots), reuse=not differentiable)
        with contextlib.nullcontext() if differentiable else torch.no_grad():
            kept = executable.run(schedule, tensors, observe)
        return {name: kept[slot] for name, slot in zip(wanted, slots, strict=True)}

    def tap_names(self, taps: Taps | str) -> list[str]:
        """Return the operation outputs that names, patterns or ``"all"`` stand for.

        Raises:
            UnknownNameError: a name or pattern matches nothing.
        """
        known = [v.name for operation in self.operations for v in operation.outputs]
        patterns = ["*"] if taps == "all" else [taps] if isinstance(taps, str) else list(taps)
        chosen: dict[str, None] = {}
        for pattern in patterns:
            found = [pattern] if pattern in known else fnmatch.filter(known, pattern)
            if not found:
                raise UnknownNameError("tap", pattern, known)
            chosen.update(dict.fromkeys(found))
        return list(chosen)

    def _input(self, name: str) -> Feature:
        return next(feature for feature in self.inputs if feature.name == name)

    def _checked(
        self, inputs: Mapping[str, np.ndarray], numerics: Numerics
    ) -> dict[str, np.ndarray]:
        self._check_names(inputs)
        for feature in self.inputs:
            array = inputs[feature.name]
            if not isinstance(array, np.ndarray):
                raise ContractError(
                    f"input {feature.name!r} is a {type(array).__name__}; expected a NumPy array"
                )
            wide = numerics.format(feature.dtype).carrier is torch.float64
            fits = array.dtype == feature.dtype.numpy or (wide and array.dtype == np.float64)
            self._check(feature, array.shape, str(array.dtype), str(feature.dtype.numpy), fits)
        return {feature.name: inputs[feature.name] for feature in self.inputs}

    def _checked_tensors(
        self, inputs: Mapping[str, torch.Tensor], numerics: Numerics
    ) -> dict[int, torch.Tensor]:
        self._check_names(inputs)
        for feature in self.inputs:
            tensor = inputs[feature.name]
            carrier = numerics.format(feature.dtype).carrier
            fits = tensor.dtype is carrier
            self._check(feature, tuple(tensor.shape), str(tensor.dtype), str(carrier), fits)
        return {self.plan.inputs[f.name]: inputs[f.name] for f in self.inputs}

    def _check_names(self, inputs: Mapping[str, object]) -> None:
        expected = [feature.name for feature in self.inputs]
        if sorted(inputs) != sorted(expected):
            raise ContractError(
                f"{self.package.path} was given the inputs {_listed(inputs)}, "
                f"but takes {_listed(expected)}"
            )

    def _check(
        self, feature: Feature, shape: tuple[int, ...], found: str, expected: str, fits: bool
    ) -> None:
        declared = TensorType(feature.dtype, feature.shape)
        if not declared.accepts(shape) or not fits:
            raise ContractError(
                f"input {feature.name!r} of {self.package.path} is {found} {list(shape)}, "
                f"but the package takes {expected} {str(declared).removeprefix(str(feature.dtype))}"
            )

    def _executable(self, numerics: Numerics, device: torch.device) -> Executable:
        key = (numerics, str(device))
        if key not in self._executables:
            read, types = self.package.constants.array, self.plan.types
            constants = {
                slot: numerics.from_numpy(read(constant), types[slot].dtype).to(device)
                for slot, constant in self.plan.constants.items()
            }
            self._executables[key] = Executable(self.plan, numerics, device, constants)
        return self._executables[key]

    def _schedule(self, kept: frozenset[int], *, reuse: bool) -> Schedule:
        key = (kept, reuse)
        if key not in self._schedules:
            self._schedules[key] = build_schedule(self.plan, kept, reuse=reuse)
        return self._schedules[key]


def _listed(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "none"
