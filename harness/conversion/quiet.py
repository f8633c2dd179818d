"""coremltools without its progress bars, log lines and warnings; what it logs is kept."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from harness._coremltools import import_coremltools, logged_apart


@contextmanager
def quiet_coremltools() -> Iterator[list[str]]:
    """Silence coremltools, and yield the list that its log lines go to."""
    import_coremltools()
    from coremltools.converters.mil.frontend.torch import ops
    from coremltools.converters.mil.mil.passes import pass_pipeline
    from coremltools.optimize.coreml import _quantization_passes as compression

    bars = (
        (ops, "_tqdm", ops._tqdm),
        (pass_pipeline, "tqdm", pass_pipeline.tqdm),
        (compression, "tqdm", compression.tqdm),
    )
    for module, name, bar in bars:  # coremltools has no option for this
        setattr(module, name, functools.partial(bar, disable=True))
    try:
        with logged_apart(logging.WARNING) as lines:
            yield lines
    finally:
        for module, name, bar in bars:
            setattr(module, name, bar)
