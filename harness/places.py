"""Where things lie: in a clone of the project beside the code, otherwise in a cache of the user's.

A clone has its goldens and their recipes in ``golden/``. An installed package carries what commands
need of it in ``harness/shipped/`` (`pyproject.toml` says what), which nothing writes to: what is
made goes to the cache folder of the user.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

_HERE: Final = Path(__file__).parent
SHIPPED: Final = _HERE / "shipped"
INSTALLED: Final = SHIPPED.is_dir()
"""Whether this is an installed package; else it is a clone."""
PROJECT: Final = SHIPPED if INSTALLED else _HERE.parent
"""The folder that has ``golden/`` and ``pyproject.toml``."""


def generated(folder: str) -> Path:
    """Return where files are made that can be made again: ``folder`` of the clone or of the cache.

    Within the working directory the path is relative to it.
    """
    found = (user_cache_path("htdemucs-parity") if INSTALLED else PROJECT) / folder
    return _relative(found)


def _relative(path: Path) -> Path:
    try:
        here = Path.cwd()
    except FileNotFoundError:  # somebody removed it
        return path
    return path.relative_to(here) if path.is_relative_to(here) else path


GOLDEN_ROOT: Final = _relative(PROJECT / "golden")
"""The folder with ``recipes.toml`` and ``manifest.json``."""
INVENTORY: Final = Path("suites", "inventory.json")
"""Where the inventory is kept, from the root of a clone."""
