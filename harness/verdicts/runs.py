"""A run: all checks of one invocation, with what is needed to trust and to reproduce them.

A run is one JSON document (`Run.to_json`, `Run.from_json`, schema version `SCHEMA_VERSION`).
JSON has no infinity and no NaN, so where a number may be either, the strings ``"inf"``, ``"-inf"``
and ``"nan"`` stand for them.

The verdict fails closed:

- **fail**: a gating check failed, a known bug that was injected was not caught, or the harness
  itself broke (a worker died, a suite could not be collected, a golden is corrupt or drifted);
- **not evaluated**: nothing failed, but something required was not looked at: a layer without a
  single gating check, or without one of a subject that it is about, a required engine that did not
  execute, no injected bug where the profile asks for some, a gating check that was not evaluated, a
  golden that had to be made again, a test that was skipped, deselected or recorded nothing, a check
  or an injected bug that the inventory expects (`harness.verdicts.inventory`) and the run has not,
  or a newer run has begun in its place and has not ended;
- **pass**: neither. A failure that a maintainer waived (`harness.verdicts.waivers`) counts as none,
  but the sentence, the ladder and every report count it; a waiver that covers nothing is a failure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from harness.errors import RunError
from harness.verdicts.checks import Check, Verdict
from harness.verdicts.completeness import Completeness, Expectation
from harness.verdicts.faults import FaultOutcome, InjectedFault
from harness.verdicts.jsondata import document_text, parsed, plain, restored
from harness.verdicts.tolerances import LAYERS, SUBJECT_LAYERS
from harness.verdicts.waivers import Waiver, covered

SCHEMA_VERSION: Final = 1

EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.NOT_EVALUATED: 3}

LOCAL_GOLDEN: Final = "local"
"""Made on this machine from weights of the user's own, of which no fingerprint is committed."""
GREEN_GOLDENS: Final = ("match", "made", LOCAL_GOLDEN)
"""Statuses of a golden under which a run may be green: sound, or made for the first time here and
equal to the committed fingerprint, or the user's own."""
RED_GOLDENS: Final = ("corrupt", "drift")
"""Statuses that turn a run red; all others leave it not evaluated."""


@dataclass(frozen=True)
class Profile:
    """What a run set out to evaluate; whatever of it is missing keeps the run from being green.

    Attributes:
        name: of the profile.
        layers: the rungs that need gating checks; those of `SUBJECT_LAYERS` for each subject.
        engines: what must have executed.
        subjects: the models under proof.
        recipes: the precision recipes of the packages.
        cases: the golden cases of a subject; one that is not named here has all of them.
        faults: whether known bugs must have been injected.
        without: layers that say nothing of a subject: one without stems has no end to end.
    """

    name: str
    layers: tuple[str, ...] = LAYERS
    engines: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    cases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    faults: bool = False
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineState:
    """Whether an engine can execute here, why not if it can't, and whether it was used.

    ``executes`` is ``subject`` or ``package``; ``emulates`` says that what it computes stands for a
    device that is not here.
    """

    name: str
    available: bool
    reason: str
    version: str = ""
    executed: bool = False
    executes: str = ""
    emulates: bool = False


@dataclass(frozen=True)
class GoldenState:
    """What was found of one golden when the run asked for it."""

    subject: str
    case: str
    status: str
    message: str
    sha256: str = ""


@dataclass(frozen=True)
class LayerSummary:
    """One rung of the ladder."""

    layer: str
    required: bool
    verdict: Verdict
    reason: str
    counts: Mapping[str, int]
    exploratory: int
    worst_headroom_db: float | None
    duration_s: float


@dataclass(frozen=True)
class Run:
    """All checks of one invocation.

    Attributes:
        profile: what the run set out to evaluate.
        checks: every comparison, gating and exploratory.
        engines, goldens: the state of what the checks rest on.
        problems: what broke in the harness itself; each turns the run red.
        gaps: what was not looked at (skipped, deselected, recorded nothing); each keeps it from
            being green.
        faults: the known bugs that were injected, and what became of them.
        waivers: failures that a maintainer accepted for a while.
        expected: what it had to look at by the inventory; ``None`` where none applies, as for a
            single package.
        artefacts: tables that the report draws, by kind; plain JSON data.
        provenance: versions, machine, commit, command, seeds, hashes.
        started: ISO 8601 in UTC.
        overtaken: when a newer run began whose report is to replace this one and has not yet,
            ISO 8601 in UTC; empty if there is none. Such a run is never green.
    """

    profile: Profile
    checks: tuple[Check, ...]
    engines: tuple[EngineState, ...] = ()
    goldens: tuple[GoldenState, ...] = ()
    problems: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    faults: tuple[InjectedFault, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    expected: Expectation | None = None
    artefacts: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    duration_s: float = 0.0
    overtaken: str = ""

    @cached_property
    def layers(self) -> tuple[LayerSummary, ...]:
        """The ladder, from the bottom to the top."""
        return tuple(_summarise(layer, self) for layer in LAYERS)

    @cached_property
    def completeness(self) -> Completeness:
        """What the run has of what it was expected to have."""
        return Completeness(self.expected or Expectation(()), self.checks, self.faults)

    @property
    def narrowed(self) -> str:
        """What it was narrowed to, in words; empty for all of the inventory, or without one."""
        return ", ".join(self.expected.narrowed) if self.expected else ""

    @property
    def coverage(self) -> str:
        """How much of what was expected is there, in words; empty without an inventory."""
        if self.expected is None:
            return ""
        made, total = self.completeness.gating()
        word = "complete" if made == total else "incomplete"
        narrowed = f" for {self.narrowed}" if self.narrowed else ""
        return f"{word}{narrowed}: {made} of {total} expected gating checks"

    @cached_property
    def waived(self) -> Mapping[str, Waiver]:
        """The waiver of each failed check that one covers, by the identity of the check."""
        return self._waivers[0]

    @cached_property
    def red(self) -> tuple[str, ...]:
        """Every reason why the run fails."""
        reasons = [f"harness: {problem}" for problem in self.problems]
        reasons += [f"duplicate check {name}" for name in self._duplicates()]
        reasons += [
            f"golden {golden.subject}/{golden.case}: {golden.message}"
            for golden in self.goldens
            if golden.status in RED_GOLDENS
        ]
        reasons += [fault.complaint for fault in self.faults if fault.escaped]
        reasons += self._waivers[1]
        reasons += [f"{check.id}: {check.outcome.reason}" for check in self.failing]
        return tuple(reasons)

    @cached_property
    def failing(self) -> tuple[Check, ...]:
        """The gating checks that failed and are not waived."""
        return tuple(
            check
            for check in self.checks
            if check.gating and check.verdict is Verdict.FAIL and check.id not in self.waived
        )

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Every reason why the run can't be green although nothing failed."""
        reasons = [f"a newer run began at {self.overtaken} and has not ended"] * bool(
            self.overtaken
        )
        reasons += [
            f"{check.id}: {check.outcome.reason}"
            for check in self.checks
            if check.gating and check.verdict is Verdict.NOT_EVALUATED
        ]
        for layer in self.layers:
            short = self.completeness.shortfalls(layer.layer)
            if not short and layer.required and layer.verdict is Verdict.NOT_EVALUATED:
                short = (f"layer {layer.layer}: {layer.reason}",)
            reasons += short
        reasons += [
            f"engine {name}: {self._engine_gap(name)}"
            for name in self.profile.engines
            if self._engine_gap(name)
        ]
        reasons += [
            f"golden {golden.subject}/{golden.case}: {golden.message}"
            for golden in self.goldens
            if golden.status not in GREEN_GOLDENS + RED_GOLDENS
        ]
        if self.profile.faults and not self.faults:
            reasons.append("faults: no known bug was injected, so nothing shows that one is seen")
        else:
            reasons += self.completeness.faults()
        reasons += [f.complaint for f in self.faults if f.outcome is FaultOutcome.NOT_TRIED]
        return tuple(reasons) + self.gaps

    @property
    def verdict(self) -> Verdict:
        """The answer of the run."""
        if self.red:
            return Verdict.FAIL
        return Verdict.NOT_EVALUATED if self.missing else Verdict.PASS

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 not evaluated."""
        return EXIT_CODES[self.verdict]

    def sentence(self) -> str:
        """Return the verdict in one sentence."""
        gating = [check for check in self.checks if check.gating]
        subjects = " and ".join(self.profile.subjects) or "no subject"
        subjects += f" (narrowed to {self.narrowed})" if self.narrowed else ""
        injected = sum(fault.outcome is not FaultOutcome.NOT_TRIED for fault in self.faults)
        if self.verdict is Verdict.PASS:
            parts = [self._holding(len(gating), subjects)] if gating else []
            parts += [f"{injected} of {injected} injected faults were caught"] if injected else []
            return f"PASS: {', and '.join(parts) or 'nothing was asked for'}."
        if self.verdict is Verdict.FAIL:
            escaped = sum(fault.escaped for fault in self.faults)
            parts = [f"{len(self.failing)} of {len(gating)} gating checks failed for {subjects}"]
            if self.waived:
                parts[0] += f" ({len(self.waived)} more are waived)"
            if escaped or not gating:
                parts = parts if gating else []
                parts.append(f"{escaped} of {injected} injected faults were not caught")
            return f"FAIL: {' and '.join(parts)}; first: {self.red[0]}"
        waived = f" ({len(self.waived)} failures are waived)" if self.waived else ""
        return (
            f"NOT EVALUATED: {len(self.missing)} required thing(s) were not looked at for "
            f"{subjects}{waived}; first: {self.missing[0]}"
        )

    def _holding(self, gating: int, subjects: str) -> str:
        if not self.waived:
            return f"all {gating} gating checks hold for {subjects}"
        oldest = max(waiver.age_days(self.started) for waiver in self.waived.values())
        return (
            f"{gating - len(self.waived)} of {gating} gating checks hold for {subjects}, "
            f"{len(self.waived)} failed and are waived (the oldest for {oldest} days)"
        )

    def to_json(self) -> str:
        """Return the run document; the same run always gives the same bytes."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "verdict": self.verdict.value,
            "sentence": self.sentence(),
            "red": list(self.red),
            "missing": list(self.missing),
            "layers": [plain(layer) for layer in self.layers],
        } | {name: plain(getattr(self, name)) for name in STORED}
        return document_text(document, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read a run document; derived fields (verdict, layers) are computed again, not trusted.

        Raises:
            RunError: the text is no JSON, not a run, or of another schema version; the message
                names the place and what was expected there.
        """
        document = parsed(text, "run", SCHEMA_VERSION)
        for name in STORED:
            if name not in document:
                raise RunError(
                    f"not a run: it has no {name!r}; the document is not whole, make it again with "
                    "this program"
                )
        given = {name: value for name, value in document.items() if name not in DERIVED}
        run: Run = restored(cls, given, "run")
        return run

    @cached_property
    def _waivers(self) -> tuple[Mapping[str, Waiver], tuple[str, ...]]:
        return covered(self.waivers, self.checks, self.started)

    def _engine_gap(self, name: str) -> str:
        for engine in self.engines:
            if engine.name == name:
                if not engine.available:
                    return engine.reason
                return "" if engine.executed else "was available, but no check used it"
        return "is unknown to this run"

    def _duplicates(self) -> list[str]:
        counts = Counter(check.id for check in self.checks)
        counts.update(f"fault {fault.name}" for fault in self.faults)
        return sorted(name for name, count in counts.items() if count > 1)


DERIVED: Final[Mapping[str, Any]] = {
    "verdict": Verdict,
    "sentence": str,
    "red": tuple[str, ...],
    "missing": tuple[str, ...],
    "layers": tuple[LayerSummary, ...],
}
"""What a document says for other readers and `Run.from_json` computes again, with its types."""

STORED: Final = (
    "profile",
    "started",
    "duration_s",
    "overtaken",
    "provenance",
    "engines",
    "goldens",
    "problems",
    "gaps",
    "checks",
    "faults",
    "waivers",
    "expected",
    "artefacts",
)


def _summarise(layer: str, run: Run) -> LayerSummary:
    mine = [check for check in run.checks if check.layer == layer]
    gating = [check for check in mine if check.gating]
    counts = Counter(
        "waived" if check.id in run.waived else check.verdict.value for check in gating
    )
    made, total = run.completeness.gating(layer)
    required = layer in run.profile.layers or total > 0
    if counts["fail"]:
        verdict, reason = Verdict.FAIL, f"{counts['fail']} of {len(gating)} gating checks failed"
    elif counts["not_evaluated"]:
        verdict = Verdict.NOT_EVALUATED
        reason = f"{counts['not_evaluated']} of {len(gating)} gating checks were not evaluated"
    elif not gating:
        verdict, reason = Verdict.NOT_EVALUATED, "no gating check was evaluated"
    elif absent := _absent_subjects(layer, gating, run.profile):
        verdict = Verdict.NOT_EVALUATED
        reason = f"no gating check was evaluated for {' and '.join(absent)}"
    elif run.completeness.shortfalls(layer):
        verdict = Verdict.NOT_EVALUATED
        reason = f"{made} of {total} expected gating checks were made"
        reason = reason if made < total else "exploratory checks that were expected are missing"
    else:
        verdict, reason = Verdict.PASS, f"all {len(gating)} gating checks hold"
        if counts["waived"]:
            kept = len(gating) - counts["waived"]
            reason = f"{kept} of {len(gating)} gating checks hold, {counts['waived']} are waived"
    headrooms = [
        check.outcome.headroom_db for check in gating if check.outcome.headroom_db is not None
    ]
    return LayerSummary(
        layer=layer,
        required=required,
        verdict=verdict,
        reason=reason,
        counts={name: counts[name] for name in (*(v.value for v in Verdict), "waived")},
        exploratory=len(mine) - len(gating),
        worst_headroom_db=min(headrooms) if headrooms else None,
        duration_s=math.fsum(check.duration_s for check in mine),
    )


def _absent_subjects(layer: str, gating: Sequence[Check], profile: Profile) -> tuple[str, ...]:
    """Return the subjects of the profile that a layer about subjects says nothing of."""
    if layer not in SUBJECT_LAYERS:
        return ()
    present = {check.labels.get("subject") for check in gating}
    return tuple(
        subject
        for subject in profile.subjects
        if subject not in present and layer not in profile.without.get(subject, ())
    )


def check_to_dict(check: Check) -> dict[str, Any]:
    """Return a check as JSON data; what crosses the border between test processes."""
    document: dict[str, Any] = plain(check)
    return document


def check_from_dict(item: Mapping[str, Any]) -> Check:
    """Return the check that `check_to_dict` wrote."""
    check: Check = restored(Check, item, "check")
    return check


def fault_to_dict(fault: InjectedFault) -> dict[str, Any]:
    """Return an injected bug as JSON data; what crosses the border between test processes."""
    data: dict[str, Any] = plain(fault)
    return data


def fault_from_dict(item: Mapping[str, Any]) -> InjectedFault:
    """Return the injected bug that `fault_to_dict` wrote."""
    fault: InjectedFault = restored(InjectedFault, item, "fault")
    return fault
