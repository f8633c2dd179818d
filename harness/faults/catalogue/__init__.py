"""All known bugs, one module for each level; importing this package registers them."""

from harness.faults.catalogue import (  # noqa: F401
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
