"""Engines: one protocol, one module for each way to execute a candidate.

``torch`` executes a subject; ``mil`` and ``onnx`` execute a saved package on any machine,
``coreml`` on a Mac; ``coreai`` executes Core AI assets; ``capture`` replays what was recorded on a
Mac. `availability` says which of them can execute here, and why not. Engines of one's own come as
plugins (`harness.plugins`).
"""

from harness.engines import (  # noqa: F401
    capture_engine,
    coreai_engine,
    coreml_engine,
    mil_engine,
    onnx_engine,
    torch_engine,
)
from harness.engines.base import (
    WITHOUT_ENGINES,
    Availability,
    Engine,
    Session,
    availability,
    engine,
    engine_names,
    find_engine,
    open_engine,
)

__all__ = [
    "WITHOUT_ENGINES",
    "Availability",
    "Engine",
    "Session",
    "availability",
    "engine",
    "engine_names",
    "find_engine",
    "open_engine",
]
