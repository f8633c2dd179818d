"""Small packages for tests, written without coremltools' converter (its passes rewrite programs).

A case becomes a program of one operation, as coremltools' builder makes it; `write_package` puts
any program on disk as an ``.mlpackage``.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from harness import mil
from harness._coremltools import import_coremltools
from harness.mil.refusals import RefusedByCoreMLWarning
from harness.mil.types import DataType
from suites.ops.cases import Case

ROOT_ID, WEIGHTS_ID = "root", "weights"


def write_package(program: Any, path: Path, specification_version: int = 9) -> Path:
    """Write a MIL program of coremltools as an ``.mlpackage`` folder; version 9 is iOS 18."""
    import_coremltools()
    from coremltools.converters.mil.backend.mil.load import load

    folder = path / "Data" / "com.apple.CoreML"
    (folder / "weights").mkdir(parents=True)
    specification = load(
        program, str(folder / "weights"), specification_version=specification_version
    )
    (folder / "model.mlmodel").write_bytes(specification.SerializeToString())
    entries = {
        ROOT_ID: {"path": "com.apple.CoreML/model.mlmodel"},
        WEIGHTS_ID: {"path": "com.apple.CoreML/weights"},
    }
    manifest = {"rootModelIdentifier": ROOT_ID, "itemInfoEntries": entries}
    (path / "Manifest.json").write_text(json.dumps(manifest))
    return path


def stored(value: Any, dtype: str) -> Any:
    """Return a case's value as the program stores it in a declared type."""
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [stored(item, dtype) for item in value]
    if isinstance(value, np.ndarray):
        return value.astype(numpy_type(dtype)) if value.dtype.kind == "f" else value
    if isinstance(value, float):
        return numpy_type(dtype)(value)
    return value


def numpy_type(dtype: str) -> type[np.generic]:
    return {"fp32": np.float32, "fp16": np.float16, "int32": np.int32}[dtype]


def wide(value: Any) -> Any:
    """Return a stored value as an oracle takes it: float64, integers and booleans as they are."""
    if isinstance(value, list):
        return [wide(item) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(np.float64)
    return float(value) if isinstance(value, np.floating) else value


def package_inputs(case: Case, dtype: str) -> dict[str, np.ndarray]:
    """Return the arrays that the case's package takes; booleans travel as int32."""
    flat: dict[str, np.ndarray] = {}
    for name, value in case.tensors.items():
        arrays = value if isinstance(value, list) else [value]
        for number, array in enumerate(stored(list(arrays), dtype)):
            key = f"{name}_{number}" if isinstance(value, list) else name
            flat[key] = array.astype(np.int32) if array.dtype == bool else array
    return flat


def build_program(case: Case, dtype: str) -> Any:
    """Return the program of one case: its operation, and casts of what a model can't exchange."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types
    from coremltools.converters.mil.mil.types.type_int import is_sub_byte

    def output(result: Any) -> Any:
        exchanged = (types.fp16, types.fp32, types.int32)
        return result if result.dtype in exchanged else mb.cast(x=result, dtype="int32")

    placeholders = {
        name: mb.placeholder(array.shape, types.numpy_type_to_builtin_type(array.dtype))
        for name, array in package_inputs(case, dtype).items()
    }
    program = Program()
    with Function(placeholders, opset_version=ct.target[case.opset]) as function:
        bound: dict[str, Any] = {}
        for name, value in case.tensors.items():
            if isinstance(value, list):
                bound[name] = tuple(function.inputs[f"{name}_{n}"] for n in range(len(value)))
            elif value.dtype == bool:
                bound[name] = mb.cast(x=function.inputs[name], dtype="bool")
            else:
                bound[name] = function.inputs[name]
        for name, value in (case.constants | case.params).items():
            bound[name] = stored(value, dtype)
        results = getattr(mb, case.op)(**bound)
        results = results if isinstance(results, (list, tuple)) else [results]
        function.set_outputs([output(r) for r in results if not is_sub_byte(r.dtype)])
    program.add_function("main", function)
    return program


def expected_outputs(case: Case, dtype: str) -> list[np.ndarray]:
    """Return the oracle's results in float64, not yet rounded to the declared type."""
    values = case.tensors | case.constants | case.params
    result = case.expected(**{name: wide(stored(v, dtype)) for name, v in values.items()})
    return [np.asarray(r, np.float64) for r in (result if isinstance(result, tuple) else (result,))]


def actual_outputs(
    case: Case, dtype: str, path: Path, numerics: str
) -> list[tuple[DataType, np.ndarray]]:
    """Write the case's package and execute it.

    Returns:
        Declared type and value of each output of the case's operation, before any cast.
    """
    with warnings.catch_warnings():
        # The executor's definition of an operation is wider than what Core ML runs of it.
        warnings.simplefilter("ignore", RefusedByCoreMLWarning)
        model = mil.load(write_package(build_program(case, dtype), path))
    operation = next(o for o in reversed(model.operations) if o.type == case.op)
    names = [variable.name for variable in operation.outputs]
    results = model.predict(package_inputs(case, dtype), taps=names, numerics=numerics)
    types = [model.plan.types[model.plan.slots[name]] for name in names]
    return [(type_.dtype, results[name]) for type_, name in zip(types, names, strict=True)]
