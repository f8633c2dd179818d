"""All known bugs, one module for each level; importing this package registers them."""

from harness.faults.catalogue import (
    goldens,
    metrics,
    operations,
    precision,
    program,
    segments,
    sessions,
    stems,
    stft,
    surgery,
    weights,
    wiring,
)

__all__ = [
    "goldens",
    "metrics",
    "operations",
    "precision",
    "program",
    "segments",
    "sessions",
    "stems",
    "stft",
    "surgery",
    "weights",
    "wiring",
]
