"""Writes a program as an ``.mlpackage``, which Core ML, coremltools and `load` open.

What is written is one function and the constants in it: fixed shapes, tensors in and out. Flexible
shapes, images and class labels are part of a description that programs do not hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness._coremltools import import_coremltools
from harness.atomic import atomic_folder
from harness.atomic.products import PACKAGE
from harness.errors import PackageError
from harness.mil.blob import BlobWriter
from harness.mil.constants import ReadArray
from harness.mil.encode import encode_program
from harness.mil.opsets import OPSETS
from harness.mil.package import METADATA_FIELDS
from harness.mil.program import Function, Variable
from harness.mil.types import DataType, StateType, TensorType

EXCHANGED: Final = (DataType.FLOAT16, DataType.FLOAT32, DataType.INT32)
"""Element types that a Core ML model takes and returns."""

MAX_EXCHANGED_RANK: Final = 5
"""Of an input; one of rank 0 can't be given."""

_FOLDER = "com.apple.CoreML"
_MODEL, _WEIGHTS = f"{_FOLDER}/model.mlmodel", f"{_FOLDER}/weights"
# iOS 16, the first in which inputs and outputs may be FP16
_SPECIFICATION_OF_FP16 = OPSETS["CoreML6"].specification


def save_package(
    path: Path,
    function: Function,
    read: ReadArray,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``function`` as the only one of the ``.mlpackage`` at ``path``, atomically.

    Args:
        path: the package's folder.
        function: a verified one. Its inputs are tensors of fixed shape in an exchanged type, or
            states; its outputs tensors in an exchanged type.
        read: returns the array of a constant in ``function``.
        metadata: texts to be kept with it, as `harness.mil.package.Package` has them.

    Raises:
        PackageError: an input, an output or a constant can't be written.
        OSError: the disk is full or the folder can't be written; nothing is left of it.
    """
    outputs = _outputs(function)
    specification = _description(function, outputs)
    author = specification.description.metadata
    for name, text in (metadata or {}).items():
        if name in METADATA_FIELDS:
            setattr(author, METADATA_FIELDS[name], text)
        else:
            author.userDefined[name] = text
    with atomic_folder(path, PACKAGE) as folder:
        (folder / "Data" / _WEIGHTS).mkdir(parents=True)
        with BlobWriter(folder / "Data" / _WEIGHTS / "weight.bin") as weights:
            program = encode_program(function, read, weights, "@model_path/weights/weight.bin")
        specification.mlProgram.CopyFrom(program)
        (folder / "Data" / _MODEL).write_bytes(specification.SerializeToString(deterministic=True))
        (folder / "Manifest.json").write_text(json.dumps(_manifest(), indent=1), "utf-8")


def _outputs(function: Function) -> list[Variable]:
    made = {v.name: v for operation in function.block.operations for v in operation.outputs}
    made |= {variable.name: variable for variable in function.inputs}
    return [made[name] for name in function.block.outputs]


def _description(function: Function, outputs: list[Variable]) -> Any:
    import_coremltools()
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model()
    version = OPSETS[function.opset].specification
    for variable in function.inputs:
        if isinstance(variable.type, StateType):
            feature = model.description.state.add(name=variable.name)
            _set_array(feature.type.stateType.arrayType, variable, variable.type.wrapped)
        else:
            feature = model.description.input.add(name=variable.name)
            if not isinstance(variable.type, TensorType) or not variable.type.is_static:
                raise PackageError(
                    f"input {variable.name!r} is a {variable.type}; it must have one shape"
                )
            _set_array(feature.type.multiArrayType, variable, variable.type)
    for variable in outputs:
        feature = model.description.output.add(name=variable.name)
        _set_array(feature.type.multiArrayType, variable, variable.type)
    for variable in (*function.inputs, *outputs):
        if isinstance(variable.type, TensorType) and variable.type.dtype is DataType.FLOAT16:
            version = max(version, _SPECIFICATION_OF_FP16)
    model.specificationVersion = version
    return model


def _set_array(message: Any, variable: Variable, type: object) -> None:
    from coremltools.proto import FeatureTypes_pb2

    if not isinstance(type, TensorType) or type.dtype not in EXCHANGED:
        raise PackageError(
            f"{variable.name!r} is a {type}; a model takes and returns tensors of "
            f"{', '.join(map(str, EXCHANGED))}"
        )
    message.dataType = FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Value(type.dtype.name)
    if type.is_static:
        message.shape.extend(size for size in type.shape or () if size is not None)


def _manifest() -> dict[str, Any]:
    def item(path: str, description: str) -> dict[str, str]:
        name = path.rpartition("/")[2]
        return {"author": _FOLDER, "description": description, "name": name, "path": path}

    return {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            "model": item(_MODEL, "CoreML Model Specification"),
            "weights": item(_WEIGHTS, "CoreML Model Weights"),
        },
        "rootModelIdentifier": "model",
    }
