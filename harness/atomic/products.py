"""Kinds of folders that are written as a whole, and what of an earlier one may be replaced."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import ParityError


@dataclass(frozen=True)
class Product:
    """A kind of folder: the file by which one is known, and a pattern of all that it may hold."""

    name: str
    marker: str  # if there is none, no folder is replaced
    files: str

    def check(self, folder: Path) -> None:
        """Check that ``folder`` can be replaced: not there, empty, or such a product and no more.

        Raises:
            ParityError: something else would be lost.
        """
        if not folder.exists():
            return
        if folder.is_dir() and folder.samefile(Path.cwd()):
            raise ParityError(f"{folder} is the folder that you are in; name a new folder")
        empty = folder.is_dir() and next(folder.iterdir(), None) is None
        if not empty and self.marker and not (folder / self.marker).is_file():
            raise ParityError(f"{folder} exists and holds no earlier {self.name}; name a new one")
        for path in folder.rglob("*"):
            inside = path.relative_to(folder).as_posix()
            held = path.is_symlink() or not path.is_dir()
            if held and path.name != ".DS_Store" and not re.fullmatch(self.files, inside):
                raise ParityError(f"{folder} holds {inside}, which would be lost; name a new one")


_PACKAGE: Final = r"(Manifest\.json|Data/com\.apple\.CoreML/.+)"
PACKAGE: Final = Product("package", "Manifest.json", _PACKAGE)
ASSET: Final = Product("asset", "main.mlirb", r"main\.[^/]+|metadata\.json")
PACK: Final = Product(
    "pack",
    "manifest.json",
    r"manifest\.(json|tsv)|pack\.schema\.json|(given|expected)\.safetensors",
)
RESULTS: Final = Product("results", "", "")
RECORDING: Final = Product(
    "kit", "recorder.py", rf"recorder\.(py|swift)|inputs\.safetensors|[^/]+\.mlpackage/{_PACKAGE}"
)
REDUCTION: Final = Product(
    "reduction",
    "reduction.json",
    rf"reduction\.json|README\.md|(inputs|expected)\.safetensors|reduced\.mlpackage/{_PACKAGE}",
)
