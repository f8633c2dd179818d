"""The workbench of a run: goldens, packages, predictions and virtual runs that know each other."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from harness.store import Store
from harness.subjects.protocol import sound_of
from harness.workbench.goldens import Goldens
from harness.workbench.music import Music
from harness.workbench.packages import Packages
from harness.workbench.predictions import Predictions, VirtualRuns


class Workbench:
    """Where suites and commands take from what they compare.

    Args:
        golden_root: the folder with ``recipes.toml`` and ``manifest.json``.
        scratch: a folder for packages; parallel test processes may share one.
        numerics: how engines compute, where they can be asked.
        store: where packages that this code would make are looked for, and kept.

    Attributes:
        goldens: subjects, and what is expected of them.
        packages: what was converted of them.
        predictions: what engines make of both.
        virtual: what recipes allow.
    """

    def __init__(
        self,
        golden_root: Path,
        scratch: Path,
        *,
        numerics: str = "storage",
        store: Store | None = None,
    ) -> None:
        self.goldens = Goldens(golden_root)
        self.packages = Packages(scratch, self.goldens.subject, store)
        self.predictions = Predictions(self.goldens, numerics)
        self.virtual = VirtualRuns(self.goldens, self.packages, numerics)
        self.music = lru_cache(maxsize=1)(self._music)

    def _music(self, subject: str, case: str) -> Music:
        """Return what all candidates of a song are held against."""
        network = self.goldens.network(subject)
        golden = self.goldens.fetch(subject, case).require()
        return Music(golden, tuple(network.sources), sound_of(network).sample_rate)
