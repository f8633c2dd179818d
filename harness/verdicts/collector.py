"""What gathers checks while they are made and turns them into a run.

A collector knows no test runner: the pytest plugin feeds it, and so does ``parity check``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from harness.digests import digest_of
from harness.verdicts.checks import Check
from harness.verdicts.completeness import Expectation
from harness.verdicts.faults import InjectedFault
from harness.verdicts.rows.artefacts import Artefacts
from harness.verdicts.runs import Run
from harness.verdicts.states import EngineState, GoldenState, Profile
from harness.verdicts.waivers import Waiver


class Collector:
    """Gathers what one invocation finds.

    Args:
        profile: what the run sets out to evaluate.
        engines: the engines' availability at the start.

    Attributes:
        checks, faults: what was found; whoever finds more appends it.
        problems, gaps: what broke, and what was not looked at, in words.
        waivers: failures that are accepted.
        packages: the digest of each package that was judged, by its name.
        started: when it began to gather, ISO 8601 in UTC.
    """

    def __init__(self, profile: Profile, engines: Iterable[EngineState] = ()) -> None:
        self.profile = profile
        self.checks: list[Check] = []
        self.faults: list[InjectedFault] = []
        self.problems: list[str] = []
        self.gaps: list[str] = []
        self.waivers: tuple[Waiver, ...] = ()
        self.packages: dict[str, Mapping[str, str]] = {}
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._engines = {engine.name: engine for engine in engines}
        self._goldens: dict[tuple[str, str], GoldenState] = {}
        self._artefacts = Artefacts()
        self._clock = time.perf_counter()

    def executed(self, engine: str) -> None:
        """Note that an engine really executed something."""
        if engine in self._engines:
            self._engines[engine] = replace(self._engines[engine], executed=True)

    def add_golden(self, golden: GoldenState) -> None:
        """Add what was found of a golden; the first finding stays, as a later one may be healed."""
        self._goldens.setdefault((golden.subject, golden.case), golden)

    def keep(self, *rows: Any) -> None:
        """Add rows of `harness.verdicts.rows` for the report."""
        self._artefacts = self._artefacts.plus(rows)

    def finish(self, provenance: Mapping[str, Any], expected: Expectation | None = None) -> Run:
        """Return the run; ``expected`` is what it had to look at by the inventory."""
        return Run(
            profile=self.profile,
            checks=tuple(self.checks),
            engines=tuple(self._engines.values()),
            goldens=tuple(self._goldens[key] for key in sorted(self._goldens)),
            problems=tuple(self.problems),
            gaps=tuple(self.gaps),
            faults=tuple(self.faults),
            waivers=self.waivers,
            expected=expected,
            artefacts=self._artefacts,
            provenance={**provenance, **({"packages": self.packages} if self.packages else {})},
            started=self.started,
            duration_s=round(time.perf_counter() - self._clock, 3),
        )


@contextmanager
def noted_digest(collector: Collector, package: Path) -> Iterator[None]:
    """Note the digest of a package in a run; if it changes meanwhile, that is a problem of the run.

    Raises:
        PackageError: it has no digest.
    """
    digest = digest_of(package)
    yield
    if digest_of(package) != digest:
        collector.problems.append(f"{package} was changed while it was judged")
    collector.packages[package.name] = {digest.algorithm: digest.value}
