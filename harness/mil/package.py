"""Opens a model's folder; everything in it is treated as hostile data.

Of an ``.mlpackage``, the manifest names the model file and the model file names weight files. A
compiled ``.mlmodelc`` is read by `harness.mil.compiled`. Either way the result is a verified
program, its metadata and access to its constants.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from harness._coremltools import import_coremltools
from harness.bounded import MEBIBYTE, read_json, read_regular
from harness.errors import PackageError
from harness.mil.compiled import is_compiled, open_compiled
from harness.mil.decode import decode_program
from harness.mil.description import describe
from harness.mil.opened import ConstantReader, Package, inside

__all__ = ["Package", "open_package"]

METADATA_FIELDS: Final = {
    "author": "author",
    "license": "license",
    "version": "versionString",
    "description": "shortDescription",
}
"""Standard metadata, and the fields of Core ML's message that hold it."""

# The largest known are a few megabytes, because weights are elsewhere; a small value takes fifty
# times the memory of its message.
_MODEL_LIMIT_BYTES = 16 * MEBIBYTE
_MANIFEST_LIMIT_BYTES = MEBIBYTE


def open_package(path: str | Path) -> Package:
    """Open the ``.mlpackage`` or ``.mlmodelc`` folder at ``path``.

    Raises:
        PackageError: it is neither, or a broken one; says what is wrong and where.
    """
    path = Path(path)
    try:
        return _open(path)
    except OSError as error:
        raise PackageError(f"{path} can't be read: {error.strerror}") from error


def _open(path: Path) -> Package:
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise PackageError(f"{path} {what}; expected an .mlpackage or .mlmodelc folder")
    if (path / "Manifest.json").is_file():
        return _open_mlpackage(path)
    if is_compiled(path):
        return open_compiled(path)
    raise PackageError(
        f"{path} has neither a Manifest.json nor a model.mil; "
        "expected an .mlpackage or .mlmodelc folder"
    )


def _open_mlpackage(path: Path) -> Package:
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
    file = inside(package.resolve(), package.resolve(), manifest.name, "manifest")
    content = read_json(file, _MANIFEST_LIMIT_BYTES, PackageError)
    try:
        relative = content["itemInfoEntries"][content["rootModelIdentifier"]]["path"]
    except (LookupError, TypeError) as error:
        raise PackageError(f"{manifest} names no root model (missing {error})") from error
    if not isinstance(relative, str):
        raise PackageError(f"{manifest}: the root model's path is no string")
    return inside(package.resolve(), package.resolve() / "Data", relative, "root model")


def _parse(model_file: Path) -> Any:
    import_coremltools()
    # Importable only once the package above was imported quietly.
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    content = read_regular(model_file, _MODEL_LIMIT_BYTES, PackageError)
    model = Model_pb2.Model()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise PackageError(f"{model_file} is truncated or no Core ML model: {error}") from error
    return model


def _metadata(message: Any) -> dict[str, str]:
    fields = {name: getattr(message, field) for name, field in METADATA_FIELDS.items()}
    return {name: text for name, text in fields.items() if text} | dict(message.userDefined)
