"""Proves that a converted HTDemucs still computes what PyTorch computes.

The front door, for scripts and notebooks::

    import harness

    model = harness.load("X.mlpackage")                    # executes anywhere
    found = harness.compare(expected, model.predict(inputs), min_snr_db=60)
    run = harness.check("X.mlpackage", "htdemucs@model.th")    # what parity check finds
    shares = harness.sensitivity("mini", precision="fp16", cases=["song"])

Each is imported when it is asked for. The rooms, and what each may import, are drawn in
``docs/architecture.md``.
"""

from importlib import import_module
from typing import Any

__all__ = ["Comparison", "__version__", "check", "compare", "load", "sensitivity"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module("harness.frontdoor"), name)  # it imports PyTorch


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
