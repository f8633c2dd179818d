"""Opens an ``.mlpackage`` folder; everything in it is treated as hostile data.

The manifest names the model file, the model file names weight files: every such path must be
relative and stay inside the package, symbolic links included. Nothing is executed and nothing is
written. The result is a verified program, its metadata and access to its constants.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from harness._coremltools import import_coremltools
from harness.errors import PackageError
from harness.mil.blob import BlobFile
from harness.mil.decode import decode_program
from harness.mil.description import Description, describe
from harness.mil.program import BlobReference, Constant, Program
from harness.mil.types import TensorType

_MANIFEST_LIMIT_BYTES = 1 << 20
_MODEL_LIMIT_BYTES = (1 << 31) - 1  # of a protocol buffer message
_MODEL_PATH = "@model_path/"


@dataclass(frozen=True, eq=False)
class Package:
    """An opened package.

    Attributes:
        path: the ``.mlpackage`` folder.
        specification_version: of the Core ML format; 6 is iOS 15, 9 is iOS 18.
        program: the verified ML Program.
        default_function: name of the function that runs where the caller names none.
        descriptions: what the model says about the inputs and outputs of its functions, by name.
        metadata: the user-defined metadata, and author, license, version and description if set.
        constants: reads the values of the program's constants.
    """

    path: Path
    specification_version: int
    program: Program
    default_function: str
    descriptions: Mapping[str, Description]
    metadata: Mapping[str, str]
    constants: ConstantReader


class ConstantReader:
    """Reads constants, from the program itself or from the package's weight files."""

    def __init__(self, package: Path, model_folder: Path) -> None:
        self._package, self._folder = package, model_folder
        self._files: dict[str, BlobFile] = {}

    def array(self, constant: Constant) -> np.ndarray:
        """Return a numeric tensor constant as an array of its declared shape.

        Arrays from weight files share the mapped file: do not write to them.

        Raises:
            PackageError: the weight file is missing or broken, or the constant is no such tensor.
        """
        value = constant.value
        if isinstance(value, np.ndarray):
            return value
        if not isinstance(value, BlobReference) or not isinstance(constant.type, TensorType):
            raise PackageError(f"a constant of type {constant.type} is no array of numbers")
        file = self._file(value.file_name)
        flat = file.read(value.offset, constant.type.dtype, constant.type.count)
        return flat.reshape([size for size in constant.type.shape or () if size is not None])

    def _file(self, name: str) -> BlobFile:
        if name not in self._files:
            relative = name.removeprefix(_MODEL_PATH)
            path = _inside(self._package, self._folder, relative, "weight file")
            self._files[name] = BlobFile(path)
        return self._files[name]


def open_package(path: str | Path) -> Package:
    """Open the ``.mlpackage`` folder at ``path``.

    Raises:
        PackageError: it is no package, or a broken one; says what is wrong and where.
    """
    path = Path(path)
    model_file = _model_file(path)
    specification = _parse(model_file)
    kind = specification.WhichOneof("Type")
    if kind != "mlProgram":
        found = f"a model of type {kind!r}" if kind else "no model (the file may be truncated)"
        raise PackageError(
            f"{path} holds {found}; only ML Programs can be executed "
            '(convert with convert_to="mlprogram")'
        )
    try:
        program = decode_program(specification.mlProgram)
        default_function, descriptions = describe(specification.description)
    except PackageError as error:
        raise PackageError(f"{path}: {error}") from error
    return Package(
        path=path,
        specification_version=int(specification.specificationVersion),
        program=program,
        default_function=default_function,
        descriptions=descriptions,
        metadata=_metadata(specification.description.metadata),
        constants=ConstantReader(path.resolve(), model_file.parent),
    )


def _model_file(package: Path) -> Path:
    manifest = package / "Manifest.json"
    if not package.is_dir() or not manifest.is_file():
        what = "is no folder with a Manifest.json" if package.exists() else "does not exist"
        raise PackageError(f"{package} {what}; expected an .mlpackage folder")
    if manifest.stat().st_size > _MANIFEST_LIMIT_BYTES:
        raise PackageError(f"{manifest} is larger than {_MANIFEST_LIMIT_BYTES} bytes")
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{manifest} is not readable as JSON: {error}") from error
    try:
        relative = content["itemInfoEntries"][content["rootModelIdentifier"]]["path"]
    except (KeyError, TypeError) as error:
        raise PackageError(f"{manifest} names no root model (missing {error})") from error
    if not isinstance(relative, str):
        raise PackageError(f"{manifest}: the root model's path is no string")
    return _inside(package.resolve(), package.resolve() / "Data", relative, "root model")


def _inside(package: Path, folder: Path, relative: str, what: str) -> Path:
    """Return ``folder / relative``, checked to be an existing file inside ``package``."""
    pure = PurePosixPath(relative)
    if not relative or pure.is_absolute() or ".." in pure.parts or "\\" in relative:
        raise PackageError(f"{package}: the {what} path {relative!r} leaves the package")
    try:
        path = (folder / pure).resolve()
        is_file = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise PackageError(f"{package}: the {what} path {relative!r} is unusable") from error
    if not path.is_relative_to(package):
        raise PackageError(f"{package}: the {what} path {relative!r} leaves the package by a link")
    if not is_file:
        raise PackageError(f"{package}: the {what} {relative!r} is missing")
    return path


def _parse(model_file: Path) -> Any:
    import_coremltools()
    # Importable only once the package above was imported quietly.
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    if model_file.stat().st_size > _MODEL_LIMIT_BYTES:
        raise PackageError(f"{model_file} is larger than a model file can be")
    model = Model_pb2.Model()
    try:
        model.ParseFromString(model_file.read_bytes())
    except DecodeError as error:
        raise PackageError(f"{model_file} is truncated or no Core ML model: {error}") from error
    return model


def _metadata(message: Any) -> dict[str, str]:
    fields = {
        "author": message.author,
        "license": message.license,
        "version": message.versionString,
        "description": message.shortDescription,
    }
    return {key: value for key, value in fields.items() if value} | dict(message.userDefined)
