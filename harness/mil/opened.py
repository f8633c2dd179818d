"""An opened model, whatever it was opened from, and safe access to the files of its folder.

Every path that a file in the folder names must be relative and stay inside the folder, symbolic
links included. Nothing is executed and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from harness.errors import PackageError, one_line
from harness.mil.blob import BlobFile
from harness.mil.description import Description
from harness.mil.program import BlobReference, Constant, Program
from harness.mil.types import TensorType

_MODEL_PATH = "@model_path/"


@dataclass(frozen=True, eq=False)
class Package:
    """An opened package.

    Attributes:
        path: the ``.mlpackage`` or ``.mlmodelc`` folder.
        specification_version: of the Core ML format; 6 is iOS 15, 9 is iOS 18; 0 where a compiled
            model does not say.
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
            path = inside(self._package, self._folder, relative, "weight file")
            self._files[name] = BlobFile(path)
        return self._files[name]


def inside(package: Path, folder: Path, relative: str, what: str) -> Path:
    """Return ``folder / relative``, checked to be an existing file inside ``package``."""
    shown = one_line(repr(relative), 100)
    pure = PurePosixPath(relative)
    if not relative or pure.is_absolute() or ".." in pure.parts or "\\" in relative:
        raise PackageError(f"{package}: the {what} path {shown} leaves the package")
    try:
        path = (folder / pure).resolve()
        is_file = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise PackageError(f"{package}: the {what} path {shown} is unusable") from error
    if not path.is_relative_to(package):
        raise PackageError(f"{package}: the {what} path {shown} leaves the package by a link")
    if not is_file:
        raise PackageError(f"{package}: the {what} {shown} is missing")
    return path
