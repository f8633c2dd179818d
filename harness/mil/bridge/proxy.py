"""The stand-in for ``_MLModelProxy``, coremltools' native class around a loaded Core ML model.

Arguments, results and errors are those of the native class: what can't be loaded or run raises
`RuntimeError`. As Core ML does when it compiles a model, a proxy keeps a copy of the package of its
own, so the package may be moved, changed or deleted afterwards.

Source: ``coremlpython/CoreMLPython.mm`` and ``coremltools/models/model.py`` of coremltools.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np

from harness.errors import ExecutionError, ParityError
from harness.mil.bridge.values import Input, Output, read_array, show_array
from harness.mil.compiled import is_compiled
from harness.mil.model import Model, load
from harness.mil.state import State

_COMPILED = ".mlmodelc"


@dataclass(frozen=True)
class Loading:
    """One model that coremltools asked to load.

    Attributes:
        path: the package.
        kind: what coremltools calls the type of model (``mlProgram``, ``neuralNetwork``, ...).
        function: name of the function to run; empty for the default one.
        compute_units: what was asked for (``ALL``, ``CPU_ONLY``, ...). The executor is the same
            for all.
        operations: the types of all operations of the program, constants left out.
        refusal: why it can't be run; empty if it can.
    """

    path: str
    kind: str
    function: str
    compute_units: str
    operations: frozenset[str]
    refusal: str = ""


Predict: TypeAlias = Callable[..., Mapping[str, np.ndarray]]
"""Called as `harness.mil.Model.predict` is: with inputs by name, and with a state."""


def by_this_executor(model: Model) -> Predict:
    """Return what runs a model by `harness.mil`."""
    return model.predict


@dataclass
class Ledger:
    """Counts what happens while the bridge is installed: the proof that a test really ran a model.

    Attributes:
        loadings: every model, in order.
        predictions: how many predictions returned a result; a batch counts as its length.
        execute: what runs a loaded model; another executor may be put here.
    """

    loadings: list[Loading] = field(default_factory=list)
    predictions: int = 0
    execute: Callable[[Model], Predict] = by_this_executor


class ModelProxy:
    """One loaded model; coremltools makes these.

    Attributes:
        ledger: where loadings and predictions are counted; set by `installed`.
        compute_units: what was asked for; the executor is the same for all.
        optimization_hints: what was asked for; without effect.
    """

    ledger: ClassVar[Ledger]

    def __init__(
        self,
        path: str,
        compute_units: str,
        function_name: str,
        optimization_hints: Mapping[str, str],
        asset: object,
    ) -> None:
        if asset is not None:
            raise RuntimeError("model assets can't be run off macOS; load the .mlpackage instead")
        self.compute_units = compute_units
        self.optimization_hints = dict(optimization_hints)
        self._last_duration_ns: int | None = None
        start = time.perf_counter_ns()
        specification = _specification(path)
        loading = Loading(
            path=path,
            kind=str(specification.WhichOneof("Type") or "mlProgram"),
            function=function_name,
            compute_units=compute_units,
            operations=_operation_types(specification),
        )
        try:
            self._path = _own_copy(self, path)
            self._model = _load(self._path, loading.kind, function_name)
            with _native_errors():
                self._predict = self.ledger.execute(self._model)
            functions = {entry.name: entry for entry in specification.description.functions}
            description = functions.get(self._model.function, specification.description)
            self._inputs = _join(Input, self._model.inputs, description.input)
            self._outputs = _join(Output, self._model.outputs, description.output)
        except RuntimeError as error:
            self.ledger.loadings.append(replace(loading, refusal=str(error)))
            raise
        self.ledger.loadings.append(loading)
        self._load_duration_ns = time.perf_counter_ns() - start

    def predict(self, inputs: Mapping[str, Any], state: StateProxy | None = None) -> dict[str, Any]:
        """Return a value for each output.

        Raises:
            RuntimeError: an input or the state does not fit, or an operation failed.
        """
        start = time.perf_counter_ns()
        arrays = {
            name: self._inputs[name].read(value) if name in self._inputs else value
            for name, value in inputs.items()
        }
        held = None if state is None else state.held
        with _native_errors():
            results = self._predict(arrays, state=held)
        shown = {name: self._outputs[name].show(value) for name, value in results.items()}
        self.ledger.predictions += 1
        self._last_duration_ns = time.perf_counter_ns() - start
        return shown

    def batchPredict(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return a result for each item of ``batch``; as `predict`."""
        start = time.perf_counter_ns()
        results = [self.predict(inputs) for inputs in batch]
        self._last_duration_ns = time.perf_counter_ns() - start
        return results

    def newState(self) -> StateProxy:
        """Return a state of zeros.

        Raises:
            RuntimeError: the model has no states.
        """
        with _native_errors():
            return StateProxy(self._model.new_state())

    def get_compiled_model_path(self) -> str:
        """Return the proxy's own copy, which lives as long as the proxy."""
        return str(self._path)

    def get_load_duration_in_nano_seconds(self) -> int:
        """Return how long loading took."""
        return self._load_duration_ns

    def get_last_predict_duration_in_nano_seconds(self) -> int | None:
        """Return how long the last prediction or batch took; ``None`` before the first."""
        return self._last_duration_ns

    @staticmethod
    def maximum_supported_specification_version() -> int:
        """Return the newest version that coremltools itself can write."""
        import coremltools

        return int(max(coremltools._OPSET))

    @staticmethod
    def compileModel(path: str) -> str:
        """Copy the package at ``path`` into a new temporary folder and return the copy's path.

        Raises:
            RuntimeError: it is no package.
        """
        if not Path(path).is_dir():
            raise RuntimeError(f"{path} is no .mlpackage; only ML Programs can be run off macOS")
        return str(_copied(path, Path(tempfile.mkdtemp(prefix="bridge-compiled-"))))


class StateProxy:
    """What a model keeps between predictions; coremltools wraps it in ``MLState``."""

    def __init__(self, held: State) -> None:
        self.held = held

    def read_state(self, name: str) -> np.ndarray:
        """Return a copy of the value, FP16 as float32.

        Raises:
            RuntimeError: there is no such state.
        """
        with _native_errors():
            return show_array(self.held.read(name))

    def write_state(self, name: str, value: np.ndarray) -> None:
        """Set the value, converted to the state's element type.

        Raises:
            RuntimeError: there is no such state, or the value does not fit it.
        """
        features = {feature.name: feature for feature in self.held.features}
        array = read_array(name, value, features[name].dtype) if name in features else value
        with _native_errors():
            self.held.write(name, array)


def _specification(path: str) -> Any:
    from coremltools.models.utils import load_spec
    from coremltools.proto import Model_pb2

    # What Xcode compiled has no specification; the program itself says all but what is an image.
    return Model_pb2.Model() if is_compiled(Path(path)) else load_spec(path)


def _load(path: Path, kind: str, function: str) -> Model:
    if kind != "mlProgram":
        raise RuntimeError(f"only ML Programs can be run off macOS, and this model is a {kind}")
    with _native_errors():
        return load(path, function=function or None)


@contextmanager
def _native_errors() -> Iterator[None]:
    """Raise what the native class raises, in Core ML's words where scripts and tests look for them.

    Raises:
        RuntimeError: what was called raised an error of ours.
    """
    try:
        yield
    except ExecutionError as error:
        raise RuntimeError(f"Unable to compute the prediction using ML Program: {error}") from error
    except ParityError as error:
        raise RuntimeError(str(error)) from error


def _join(kind: Any, features: tuple[Any, ...], messages: Any) -> dict[str, Any]:
    described = {message.name: message for message in messages}
    return {feature.name: kind.of(feature, described.get(feature.name)) for feature in features}


def _operation_types(specification: Any) -> frozenset[str]:
    def walk(block: Any) -> Iterator[str]:
        for operation in block.operations:
            yield operation.type
            for inner in operation.blocks:
                yield from walk(inner)

    functions = specification.mlProgram.functions.values()
    blocks = [block for f in functions for block in f.block_specializations.values()]
    return frozenset(kind for block in blocks for kind in walk(block)) - {"const"}


def _own_copy(owner: object, path: str) -> Path:
    if path.rstrip("/").endswith(_COMPILED) or not Path(path).is_dir():
        return Path(path)
    folder = Path(tempfile.mkdtemp(prefix="bridge-"))
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return _copied(path, folder)


def _copied(path: str, folder: Path) -> Path:
    target = folder / Path(path).with_suffix(_COMPILED).name
    shutil.copytree(path, target, symlinks=True, copy_function=_link)
    return target


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target, follow_symlinks=False)
