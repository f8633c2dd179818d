"""Rasters of a run as PNG pictures in the page itself.

In: a `Raster`. Out: a ``data:`` address of an indexed PNG, in viridis, which is perceptually
uniform and readable for every kind of colour vision. No image library writes it, so that the same
raster gives the same bytes everywhere the same zlib does.
"""

from __future__ import annotations

import base64
import struct
import zlib
from functools import lru_cache
from pathlib import Path

from harness.verdicts.rows.signals import Raster

_VIRIDIS = Path(__file__).with_name("viridis.txt")  # 256 colours, as matplotlib has them


def source(picture: Raster) -> str:
    """Return the ``data:`` address of a picture."""
    png = _png(picture.codes, picture.rows, picture.columns, picture.levels)
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


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
    colours = _VIRIDIS.read_text(encoding="ascii").split()
    places = (min(256 * level // (levels - 1), 255) for level in range(levels))
    return bytes.fromhex("".join(colours[place] for place in places))
