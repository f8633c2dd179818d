"""Kinds of folders that are written as a whole, and what of an earlier one may be replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import ParityError

_HEAD: Final = (
    "A folder with these files and no others is replaced by the next command that writes it."
)
_LIST_LIMIT: Final = 16 << 20  # characters; what a longer list would name is taken for foreign


@dataclass(frozen=True)
class Product:
    """A kind of folder: the file by which one is known, and a pattern of all that it may hold.

    Without a pattern the names are those of somebody else's program, and the file lists them.
    """

    name: str
    marker: str
    files: str = ""

    def check(self, folder: Path) -> None:
        """Check that ``folder`` can be replaced: not there, empty, or such a product and no more.

        Raises:
            ParityError: something else would be lost.
        """
        if not folder.exists():
            return
        if folder.is_dir() and folder.samefile(Path.cwd()):
            raise ParityError(f"{folder} is the folder that you are in; name a new folder")
        if folder.is_dir() and next(folder.iterdir(), None) is None:
            return
        if not (folder / self.marker).is_file():
            raise ParityError(f"{folder} exists and holds no earlier {self.name}; name a new one")
        listed = set() if self.files else self._listed(folder)
        for inside in _files(folder):
            known = re.fullmatch(self.files, inside) or inside == self.marker
            if not (known or ascii(inside) in listed):
                raise ParityError(f"{folder} holds {inside}, which would be lost; name a new one")

    def finish(self, folder: Path) -> None:
        """List what is in ``folder``, if this kind has no pattern: it is what may be replaced."""
        if not self.files:
            lines = sorted(ascii(inside) for inside in _files(folder))  # one line, whatever it is
            (folder / self.marker).write_text("\n".join((_HEAD, *lines, "")), encoding="ascii")

    def _listed(self, folder: Path) -> set[str]:
        with (folder / self.marker).open(encoding="ascii", errors="replace") as file:
            return set(file.read(_LIST_LIMIT).splitlines())


def _files(folder: Path) -> Iterator[str]:
    """Yield what in ``folder`` is no folder, links included, by its path there."""
    for path in folder.rglob("*"):
        if (path.is_symlink() or not path.is_dir()) and path.name != ".DS_Store":
            yield path.relative_to(folder).as_posix()


_PACKAGE: Final = r"(Manifest\.json|Data/com\.apple\.CoreML/.+)"
PACKAGE: Final = Product("package", "Manifest.json", _PACKAGE)
ASSET: Final = Product("asset", "main.mlirb", r"main\.[^/]+|metadata\.json")
PACK: Final = Product(
    "pack",
    "manifest.json",
    r"manifest\.(json|tsv)|pack\.schema\.json|(given|expected)\.safetensors",
)
RESULTS: Final = Product("results", "parity-results.txt")
RECORDING: Final = Product(
    "kit", "recorder.py", rf"recorder\.(py|swift)|inputs\.safetensors|[^/]+\.mlpackage/{_PACKAGE}"
)
REDUCTION: Final = Product(
    "reduction",
    "reduction.json",
    rf"reduction\.json|README\.md|(inputs|expected)\.safetensors|reduced\.mlpackage/{_PACKAGE}",
)
