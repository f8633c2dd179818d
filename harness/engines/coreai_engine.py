"""An ``.aimodel`` asset, executed by Apple's Core AI runtime, which runs on Linux, too."""

from __future__ import annotations

from pathlib import Path

from harness.engines.base import Availability, Executes, Session, engine


@engine
class CoreaiEngine:
    """Executes an asset with Core AI, each time in a process of its own."""

    name = "coreai"
    executes: Executes = "package"
    numerics = ()  # the asset decides
    emulates = False
    gives_taps = True

    def availability(self) -> Availability:
        """Core AI comes with the extra ``coreai``."""
        from harness.coreai.installed import coreai_availability

        return Availability(*coreai_availability())

    def open(self, candidate: Path, *, numerics: str) -> Session:
        """Open an asset; taps go by the names of its outputs, ``tap.NAME``."""
        from harness.coreai.asset import Asset

        return Asset(candidate)
