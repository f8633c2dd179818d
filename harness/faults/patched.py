"""``python -m harness.faults.patched FAULT WORDS...``: pytest in a process with one bug patched in.

The bug is patched before pytest imports any suite, so tests get the wrong function whichever way
they import it. ``none`` patches nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from harness.faults.registry import NOTHING, get_fault


def main(words: Sequence[str]) -> int:
    """Patch and run; returns pytest's exit status."""
    name, *arguments = words
    if name != NOTHING:
        get_fault(name).inject()
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
