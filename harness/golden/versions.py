"""The versions that a golden's numbers may depend on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Final

from harness import origin

DECISIVE: Final = ("torch", "demucs", "numpy", "harness")
"""What computes the signals and the tensors: another version of one makes a local golden stale.
The others are written down to explain a drift."""


def current_versions() -> dict[str, str]:
    """Return the versions of what is installed, without importing it, and the machine's kind."""
    found = origin.versions()
    kept = {name: found[name] for name in (*DECISIVE, "python")}
    return kept | {"platform": f"{platform.system()} {platform.machine()}"}


def changed_versions(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return one phrase for each decisive version that differs; builds of one version are equal."""
    return [
        f"{name} {then.get(name, 'unknown')} (now {now.get(name, 'unknown')})"
        for name in DECISIVE
        if _public(then.get(name)) != _public(now.get(name))
    ]


def _public(version: str | None) -> str | None:
    return version.partition("+")[0] if version is not None else None
