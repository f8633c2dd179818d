"""Rasters of a run as PNG pictures in the page itself.

In: the JSON of a `harness.verdicts.artefacts.Raster`, which anybody may have written: sizes are
bounded and nothing is unpacked beyond them. Out: a ``data:`` address of an indexed PNG, in viridis,
which is perceptually uniform and readable for every kind of colour vision. No image library writes
it, so that the same raster gives the same bytes everywhere the same zlib does.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import matplotlib as mpl

from harness.report.reading import number, whole

MOST_PIXELS = 1 << 18


@dataclass(frozen=True)
class Picture:
    """A raster that can be drawn: ``source`` is a ``data:`` address."""

    source: str
    rows: int
    columns: int
    low_db: float
    high_db: float


def picture(item: Any) -> Picture | None:
    """Return the picture of a raster, ``None`` where it is missing or broken."""
    if not isinstance(item, Mapping):
        return None
    rows, columns, levels = (whole(item, key) for key in ("rows", "columns", "levels"))
    low, high = number(item, "low_db"), number(item, "high_db")
    if rows is None or columns is None or levels is None or low is None or high is None:
        return None
    if rows < 1 or columns < 1 or rows * columns > MOST_PIXELS or not 2 <= levels <= 256:
        return None
    codes = _unpacked(item.get("pixels"), rows * columns)
    if codes is None or max(codes) >= levels:
        return None
    png = base64.b64encode(_png(codes, rows, columns, levels)).decode("ascii")
    return Picture(f"data:image/png;base64,{png}", rows, columns, low, high)


def _unpacked(text: Any, size: int) -> bytes | None:
    """Return exactly ``size`` bytes, or nothing."""
    if not isinstance(text, str):
        return None
    try:
        unpacker = zlib.decompressobj()
        codes = unpacker.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, ValueError, zlib.error):
        return None
    return codes if len(codes) == size else None


def _png(codes: bytes, rows: int, columns: int, levels: int) -> bytes:
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # 8 bits, indexed
    lines = b"".join(
        b"\0" + codes[start : start + columns] for start in range(0, rows * columns, columns)
    )
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette(levels)),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@lru_cache
def palette(levels: int) -> bytes:
    """Return viridis in ``levels`` steps, three bytes each."""
    colours = mpl.colormaps["viridis"].resampled(levels)(range(levels), bytes=True)
    return bytes(int(part) for colour in colours for part in colour[:3])
