"""What is remembered of runs: snapshots, the accepted baseline, and what moved between two of them.

A `Snapshot` keeps of each check its verdict, its headroom and the number behind it, and of the run
what its numbers may depend on. A run of two thousand checks leaves about 300 kB. Snapshots are JSON
documents of schema version `SCHEMA_VERSION` with the conventions of run documents (``"inf"``).

A `Baseline` is a snapshot that somebody accepted, and why. `changes` tells what moved since: every
changed verdict, every check that came or went, and every headroom that moved by more than the noise
band. The band is there because a sum in another order gives other last bits: another number of
threads or another SIMD width moves the SNR of an FP32 package by some tenths of a dB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.atomic import write_text
from harness.verdicts.checks import Check, Verdict, sortable
from harness.verdicts.jsondata import Document
from harness.verdicts.runs import Run
from harness.verdicts.states import Profile

SCHEMA_VERSION: Final = 1


NOISE_BAND_DB: Final = 1.0
"""The movement of a headroom that two runs of the same code on two machines may show."""

_ENVIRONMENT: Final = {
    "versions": None,
    "machine": ("system", "architecture", "processor", "torch_threads", "torch_cpu_capability"),
}
"""The parts of a run's provenance that its numbers may depend on; ``None`` stands for all keys."""


@dataclass(frozen=True)
class Reading:
    """What is remembered of one check.

    Attributes:
        verdict: of the check.
        gating: whether the verdict of the run depended on it.
        headroom_db: distance to the gate; ``inf`` is exact, ``None`` where there is none.
        value: the number behind it: an SNR in dB or a bounded quantity; ``None`` without one.
        unit: of ``value``.
        bounds: of its gate, in words; empty where the snapshot is older than they are.
    """

    verdict: Verdict
    gating: bool
    headroom_db: float | None = None
    value: float | None = None
    unit: str = ""
    bounds: str = ""


@dataclass(frozen=True)
class Snapshot(Document):
    """What is remembered of one run.

    Attributes:
        started: ISO 8601 in UTC.
        verdict, sentence: the answer of the run.
        profile: what the run set out to evaluate.
        commit: of the code.
        environment: names and values of what the numbers may depend on.
        readings: by the identity of the check.
        duration_s: wall time of the run.
    """

    noun = "snapshot"
    version = SCHEMA_VERSION

    started: str
    verdict: Verdict
    sentence: str
    profile: Profile
    commit: str
    environment: Mapping[str, str]
    readings: Mapping[str, Reading]
    duration_s: float = 0.0

    @classmethod
    def of(cls, run: Run) -> Snapshot:
        """Return what is to be remembered of ``run``."""
        return cls(
            started=run.started,
            verdict=run.verdict,
            sentence=run.sentence(),
            profile=run.profile,
            commit=str(run.provenance.get("commit", "")),
            environment=_environment(run.provenance),
            readings={check.id: _reading(check) for check in run.checks},
            duration_s=run.duration_s,
        )


@dataclass(frozen=True)
class Baseline(Document):
    """A snapshot that was accepted as what later runs are held against, and why."""

    noun = "baseline"
    version = SCHEMA_VERSION

    snapshot: Snapshot
    reason: str


@dataclass(frozen=True)
class Movement:
    """One check before and after; ``None`` on one side says that it came or went.

    Attributes:
        moved_db: by how much its headroom grew, or under another gate its value; negative is for
            the worse, ``None`` where only one of the two has one.
    """

    id: str
    before: Reading | None
    after: Reading | None
    moved_db: float | None

    @property
    def flipped(self) -> bool:
        """Whether the verdict is another one, or counts otherwise for the verdict of the run."""
        if self.before is None or self.after is None:
            return False
        sides = (self.before, self.after)
        return len({(side.verdict, side.gating) for side in sides}) > 1

    @property
    def regated(self) -> bool:
        """Whether it is held to other bounds than before: its headroom says nothing of change."""
        if self.before is None or self.after is None or self.before.gating != self.after.gating:
            return False
        known = None not in (self.before.value, self.after.value) and self.before.bounds
        return bool(known and self.after.bounds not in ("", self.before.bounds))

    @property
    def stayed(self) -> bool:
        """Whether what was measured stayed within the band."""
        return abs(sortable(self.moved_db)) <= NOISE_BAND_DB

    @property
    def demoted(self) -> bool:
        """Whether it was gating and is exploratory: as good as gone."""
        return bool(self.before and self.after and self.before.gating and not self.after.gating)

    @property
    def worse(self) -> bool:
        """Whether a gating check is gone or demoted, no longer passes, or has less headroom."""
        if self.demoted:
            return True
        if self.after is None:
            return self.before is not None and self.before.gating
        if self.before is None or not self.after.gating:
            return False
        if self.flipped:
            return self.after.verdict is not Verdict.PASS
        return self.moved_db is None or self.moved_db < 0


@dataclass(frozen=True)
class Changes:
    """What moved between two runs.

    Attributes:
        flipped: checks with another verdict, or that became gating or exploratory.
        moved: other checks whose headroom moved by more than the band, the worst movement first.
        regated: checks that found the same under other bounds: neither better nor worse.
        added, removed: checks of one of the two runs only, as far as the later run set out to make
            them (`Profile.leaves_out`).
        unmoved: how many checks stayed within the band.
        compared, total: how many checks of the earlier run the later one set out to make, of how
            many.
        environment: name, value before, value after, of everything that differs.
    """

    flipped: tuple[Movement, ...]
    moved: tuple[Movement, ...]
    regated: tuple[Movement, ...]
    added: tuple[Movement, ...]
    removed: tuple[Movement, ...]
    unmoved: int
    compared: int
    total: int
    environment: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Record:
    """What a report may hold a run against.

    Attributes:
        before: the snapshot that changes are counted from, if there is one.
        reason: why it was accepted as the baseline; empty if it is just another run.
        past: earlier runs, the oldest first.
    """

    before: Snapshot | None = None
    reason: str = ""
    past: tuple[Snapshot, ...] = ()


def changes(before: Snapshot, after: Snapshot) -> Changes:
    """Return what moved from an earlier run to a later one."""
    earlier = [
        name
        for name in before.readings
        if name in after.readings or not after.profile.leaves_out(name, before.profile)
    ]
    movements = [
        _movement(name, before.readings.get(name), after.readings.get(name))
        for name in sorted({*earlier, *after.readings})
    ]
    both = [m for m in movements if m.before is not None and m.after is not None]
    regated = [m for m in both if m.regated and m.stayed]
    flipped = [m for m in both if m.flipped and not (m.regated and m.stayed)]
    moved = [m for m in both if not m.flipped and not m.stayed]
    return Changes(
        flipped=tuple(sorted(flipped, key=_worst_first)),
        moved=tuple(sorted(moved, key=_worst_first)),
        regated=tuple(regated),
        added=tuple(m for m in movements if m.before is None),
        removed=tuple(m for m in movements if m.after is None),
        unmoved=len(both) - len(flipped) - len(moved) - len(regated),
        compared=len(earlier),
        total=len(before.readings),
        environment=_differences(before.environment, after.environment),
    )


def remember(folder: Path, snapshot: Snapshot, *, keep: int = 60) -> Path:
    """Write ``snapshot`` into the history ``folder``, and forget all but the latest ``keep``.

    The same run is kept once, however often it is remembered.

    Raises:
        OSError: the folder can't be made or written.
    """
    text = snapshot.to_json()
    stamp = "".join(letter for letter in snapshot.started[:19] if letter.isalnum())
    name = f"{stamp}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    write_text(folder / name, text)
    for old in sorted(folder.glob("*.json"))[:-keep]:
        old.unlink(missing_ok=True)  # another run may have forgotten it meanwhile
    return folder / name


def record_of(baseline: Path | None, history: Path | None) -> Record:
    """Return what a report may be held against.

    Args:
        baseline: file of the accepted run; None for none.
        history: folder of earlier runs, as `remember` leaves it; None for none.

    Raises:
        RunError: the baseline or an earlier run can't be read.
    """
    files = [] if history is None else sorted(history.glob("*.json"))
    past = tuple(map(Snapshot.read, files))
    if baseline is None:
        return Record(past=past)
    accepted = Baseline.read(baseline)
    return Record(accepted.snapshot, accepted.reason, past)


def _movement(name: str, before: Reading | None, after: Reading | None) -> Movement:
    old = None if before is None else before.headroom_db
    new = None if after is None else after.headroom_db
    if (
        before
        and after
        and Movement(name, before, after, None).regated
        and (before.value == after.value or before.unit == after.unit == "dB")
    ):
        old, new = before.value, after.value
    if old == new:  # two exact results, or two without a headroom
        return Movement(name, before, after, 0.0)
    if old is None or new is None:
        return Movement(name, before, after, None)
    return Movement(name, before, after, new - old)


def _worst_first(movement: Movement) -> tuple[float, str]:
    return sortable(movement.moved_db), movement.id


def _reading(check: Check) -> Reading:
    metrics = check.outcome.metrics
    snr_db, value = metrics.get("snr_db"), metrics.get("value")
    if isinstance(value, (int, float)):
        number, unit = float(value), check.gate.unit if check.gate else ""
    elif isinstance(snr_db, (int, float)):
        number, unit = float(snr_db), "dB"
    else:
        number, unit = None, ""
    bounds = check.gate.describe() if check.gate else ""
    return Reading(check.verdict, check.gating, check.outcome.headroom_db, number, unit, bounds)


def _environment(provenance: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for part, names in _ENVIRONMENT.items():
        values = provenance.get(part)
        if isinstance(values, Mapping):
            for name in values if names is None else names:
                if name in values:
                    found[str(name)] = str(values[name])
    return found


def _differences(
    before: Mapping[str, str], after: Mapping[str, str]
) -> tuple[tuple[str, str, str], ...]:
    names = sorted({*before, *after})
    pairs = [(name, before.get(name, ""), after.get(name, "")) for name in names]
    return tuple(pair for pair in pairs if pair[1] != pair[2])
