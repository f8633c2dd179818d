"""Figures as files: PNG, SVG and PDF, written together or not at all.

The bytes depend on the run and on the versions of matplotlib and its fonts: no file has a date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from harness.atomic import atomic_set
from harness.errors import UnknownNameError
from harness.figures.catalogue import Drawing
from harness.figures.style import Paper
from harness.report.order import unique

_METADATA: Final[Mapping[str, Mapping[str, Any]]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib would write of itself and of the day, by format."""
FORMATS: Final = tuple(_METADATA)


def write_figures(
    drawings: Sequence[Drawing], paper: Paper, folder: Path, formats: Iterable[str] = FORMATS
) -> dict[str, tuple[Path, ...]]:
    """Draw each figure on ``paper`` and write it in each format; return its files by its name.

    Raises:
        UnknownNameError: a format is none of `FORMATS`.
        OSError: the folder can't be made or written; files that are there stay as they are.
    """
    formats = unique(formats)
    for given in formats:
        if given not in FORMATS:
            raise UnknownNameError("format", given, FORMATS)
    files = {d.name: tuple(folder / f"{d.name}.{kind}" for kind in formats) for d in drawings}
    with atomic_set(folder) as fresh, paper.style():
        for drawing in drawings:
            figure = drawing.draw(paper)
            for path, kind in zip(files[drawing.name], formats, strict=True):
                figure.savefig(fresh / path.name, format=kind, metadata=_METADATA[kind])
    return files
