"""coremltools without its progress bars, log lines and warnings; what it logs is kept."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from harness._coremltools import import_coremltools


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def quiet_coremltools() -> Iterator[list[str]]:
    """Silence coremltools, and yield the list that its log lines go to."""
    import_coremltools()
    from coremltools.converters.mil.frontend.torch import ops
    from coremltools.converters.mil.mil.passes import pass_pipeline
    from coremltools.optimize.coreml import _quantization_passes as compression

    collector = _Collector()
    logger = logging.getLogger("coremltools")
    propagate = logger.propagate
    bars = (
        (ops, "_tqdm", ops._tqdm),
        (pass_pipeline, "tqdm", pass_pipeline.tqdm),
        (compression, "tqdm", compression.tqdm),
    )
    logger.addHandler(collector)
    logger.propagate = False
    for module, name, bar in bars:  # coremltools has no option for this
        setattr(module, name, functools.partial(bar, disable=True))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield collector.lines
    finally:
        for module, name, bar in bars:
            setattr(module, name, bar)
        logger.removeHandler(collector)
        logger.propagate = propagate
