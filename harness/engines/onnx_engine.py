"""The saved package, written as an ONNX model and executed by ONNX Runtime: a second opinion.

It shares the reading of the package with the engine ``mil``, and nothing that computes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.engines.base import Availability, Executes, Session, engine
from harness.errors import ExecutionError, UnknownNameError

if TYPE_CHECKING:
    from harness.mil import Model
    from harness.onnx_export import Exported


class OnnxSession:
    """A package as an ONNX model; one session of the runtime for each set of taps.

    Args:
        model: the package.
        exported: the same as an ONNX model.
        threads: of one operation; 0 for one on each core.
    """

    def __init__(self, model: Model, exported: Exported, threads: int = 0) -> None:
        self._model, self._exported, self._threads = model, exported, threads
        self._sessions: dict[tuple[str, ...], Any] = {}

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Execute once; taps go by the names of the program's values."""
        from harness.mil.features import check_names

        check_names(inputs, self._model.inputs, self._model.package.path)
        for name in taps:
            if name not in self._exported.values:
                raise UnknownNameError("tap", name, self._exported.values)
        key = tuple(dict.fromkeys(taps))
        if key not in self._sessions:
            self._sessions[key] = self._open(taps=key)
        return self._run(self._sessions[key], self._inputs(inputs))

    def apart(
        self, values: Mapping[str, np.ndarray], names: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Execute operations each by itself on the given values.

        Args:
            values: inputs and values of the program by name, at least those that are read.
            names: of the results that are made.

        Returns:
            What the operations make of the values that they read, by the names of the results.
        """
        from harness.onnx_export import MADE

        made = self._run(self._open(apart=names), {**values, **self._inputs(values)})
        return {name.removesuffix(MADE): value for name, value in made.items()}

    def _inputs(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the inputs of the package; those that are left out have their defaults."""
        import torch

        from harness.mil import get_numerics

        path, numerics = self._model.package.path, get_numerics("storage")
        found = {}
        for feature in self._model.inputs:
            if feature.name in given:
                found[feature.name] = feature.check_array(given[feature.name], numerics, path)
            else:
                filled = feature.filled(numerics, torch.device("cpu"), path).numpy()
                found[feature.name] = filled.astype(feature.dtype.numpy)
        return found

    def _open(self, **options: Any) -> Any:
        import onnxruntime

        from harness.onnx_export import to_bytes

        chosen = onnxruntime.SessionOptions()
        # What is to be seen is the program as it is written: optimisations fuse operations and take
        # out casts, which are the roundings.
        chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Each value of a network is looked at once: an arena would keep gigabytes for the next run.
        chosen.enable_cpu_mem_arena = chosen.enable_mem_pattern = False
        chosen.log_severity_level = 3
        chosen.intra_op_num_threads = self._threads
        content = to_bytes(self._exported, **options)
        try:
            return onnxruntime.InferenceSession(content, chosen, providers=["CPUExecutionProvider"])
        except _failures() as error:
            path = self._model.package.path
            raise ExecutionError(f"{path}: ONNX Runtime refuses it: {error}") from error

    def _run(self, session: Any, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        taken = {value.name for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        given = {name: value for name, value in values.items() if name in taken}
        try:
            return dict(zip(names, session.run(names, given), strict=True))
        except _failures() as error:
            raise ExecutionError(
                f"{self._model.package.path}: ONNX Runtime failed: {error}"
            ) from error


def _failures() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "NotImplemented", "RuntimeException")
    return (RuntimeError, ValueError, *(getattr(state, name) for name in names))


@engine
class OnnxEngine:
    """Executes a package with ONNX Runtime on this processor, at the precision that it declares."""

    name = "onnx"
    executes: Executes = "package"
    numerics = ("storage",)  # an FP16 operation is computed in FP32 and rounded once
    emulates = True
    gives_taps = True

    def availability(self) -> Availability:
        """It needs onnx to write models and onnxruntime to execute them."""
        for package in ("onnx", "onnxruntime"):
            if importlib.util.find_spec(package) is None:
                reason = f"{package} is missing: pip install 'htdemucs-parity[onnx]'"
                return Availability(False, reason)
        from importlib.metadata import version

        reason = "ONNX Runtime executes the program of the package; it is not the Neural Engine"
        return Availability(True, reason, version("onnxruntime"))

    def open(self, candidate: Path, *, numerics: str) -> Session:
        """Load a package and write it as an ONNX model."""
        from harness import mil
        from harness.onnx_export import export_model

        model = mil.load(candidate)
        return OnnxSession(model, export_model(model))
