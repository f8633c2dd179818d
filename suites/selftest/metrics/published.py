"""museval's metrics, without the package around them.

``import museval`` imports musdb, and that imports stempeg, which ends the import where no ffmpeg is
installed; pandas comes with it. The numbers are all in ``museval/metrics.py``, which needs NumPy
and SciPy alone: it is loaded from where it was installed, unchanged.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from types import ModuleType

from harness.errors import ParityError

VERSION = "0.4.1"


def museval_metrics() -> ModuleType:
    """Return ``museval.metrics``."""
    installed = importlib.metadata.version("museval")
    if installed != VERSION:
        raise ParityError(f"museval is {installed}, expected {VERSION}: the scores are held to it")
    found = importlib.metadata.distribution("museval").locate_file("museval/metrics.py")
    spec = importlib.util.spec_from_file_location("museval_metrics", str(found))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
