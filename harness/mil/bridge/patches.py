"""Puts the stand-in where coremltools looks for the Core ML framework, and takes it out again.

coremltools decides in four names whether it can run a model. Modules copy them when they are
imported, so each copy in a loaded module is replaced, and on the way out each replacement is taken
back, also in modules that were imported in between. What such a module computed from them while it
was imported (the ``skipif`` marks of a test module) stays.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from harness._coremltools import import_coremltools
from harness.mil.bridge.proxy import Ledger, ModelProxy

MACOS_VERSION = (26, 0)
"""The macOS whose Core ML knows every specification version that coremltools 9 writes."""

_NATIVE = "coremltools.libcoremlpython"
# Compute plans and device lists are the framework's own knowledge: they stay unavailable.
_WITHOUT_PROXY = ("coremltools.models.compute_plan", "coremltools.models.compute_device")


@contextlib.contextmanager
def installed() -> Iterator[Ledger]:
    """Let coremltools run ML Programs through the executor, and yield the ledger of what ran.

    On macOS, too, this executor answers instead of Core ML. Nothing is left behind at the end;
    models that were loaded in between keep their stand-in.
    """
    import_coremltools()
    from coremltools import _deps
    from coremltools.models import _compiled_model, model, utils  # noqa: F401  (copies of names)

    ledger = Ledger()
    stand_in = type("_MLModelProxy", (ModelProxy,), {"ledger": ledger})
    replacements = {
        "_IS_MACOS": (_deps._IS_MACOS, True),
        "_is_macos": (utils._is_macos, lambda: True),
        "_macos_version": (utils._macos_version, lambda: MACOS_VERSION),
        "_MLModelProxy": (model._MLModelProxy, stand_in),
    }
    before = sys.modules.get(_NATIVE)
    native = ModuleType(_NATIVE)
    vars(native)["_MLModelProxy"] = stand_in
    sys.modules[_NATIVE] = native
    for name, (old, new) in replacements.items():
        _exchange(name, old, new)
    try:
        yield ledger
    finally:
        for name, (old, new) in replacements.items():
            _exchange(name, new, old)
        if before is None:
            del sys.modules[_NATIVE]
        else:
            sys.modules[_NATIVE] = before


def _exchange(name: str, old: Any, new: Any) -> None:
    for key, module in list(sys.modules.items()):
        if not (key == "coremltools" or key.startswith("coremltools.")):
            continue
        if key == _NATIVE or (name == "_MLModelProxy" and key in _WITHOUT_PROXY):
            continue
        if name in vars(module) and vars(module)[name] is old:
            setattr(module, name, new)
