"""How a process manages its memory: what it keeps, and how often it looks for cycles."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Final

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
_LARGEST: Final = (1 << 31) - 1
_NEW_OBJECTS: Final = 10_000  # before they are looked through for cycles; Python's own is 700


def keep_memory() -> None:
    """Have memory of freed tensors stay with this process, for as long as it lives.

    glibc gives memory of 32 MB and more back as soon as it is freed, and each fresh page costs
    1.7 us: walking back through a network of the published size, a third of the time. The process
    holds more at its peak. Other C libraries than glibc stay as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST)


def seldom_collect() -> None:
    """Have the collector of cycles look less often, and never at what is there already.

    PyTorch and coremltools are a million objects that stay. Looking through them again and again
    took half the time of opening a package, and a sixth of that of a conversion.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
