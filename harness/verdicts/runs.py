"""A run: all checks of one invocation, with what is needed to trust and to reproduce them.

A run is one JSON document (`Run.to_json`, `Run.from_json`, schema version `SCHEMA_VERSION`).
JSON has no infinity and no NaN, so where a number may be either, the strings ``"inf"``, ``"-inf"``
and ``"nan"`` stand for them.

The verdict fails closed:

- **fail**: a gating check failed, a known bug that was injected was not caught, or the harness
  itself broke (a worker died, a suite could not be collected, a golden is corrupt or drifted);
- **not evaluated**: nothing failed, but something required was not looked at: a layer without a
  single gating check, or without one of a subject that it is about, or with nothing but silence
  beside silence, a case without a check, a required engine that did not
  execute, no injected bug where the profile asks for some, a gating check that was not evaluated, a
  golden that had to be made again, a test that was skipped, deselected or recorded nothing, a check
  or an injected bug that the inventory expects (`harness.verdicts.inventory`) and the run has not,
  or a newer run has begun in its place and has not ended;
- **pass**: neither. A failure that a maintainer waived (`harness.verdicts.waivers`) counts as none,
  but the sentence, the ladder and every report count it; a waiver that covers nothing is a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Final

from harness.errors import RunError
from harness.verdicts.checks import Check, Verdict
from harness.verdicts.completeness import Completeness, Expectation
from harness.verdicts.display import run_html
from harness.verdicts.faults import FaultOutcome, InjectedFault
from harness.verdicts.jsondata import document_text, parsed, plain, restored
from harness.verdicts.ladder import LayerSummary, summarise
from harness.verdicts.rows.artefacts import Artefacts, Damaged, read_rows
from harness.verdicts.states import (
    EngineState,
    GoldenState,
    Profile,
)
from harness.verdicts.tolerances import LAYERS, ON_REQUEST
from harness.verdicts.waivers import Waiver, covered

SCHEMA_VERSION: Final = 2

EXIT_CODES: Final = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.NOT_EVALUATED: 3}


@dataclass(frozen=True, repr=False)
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
        artefacts: rows that the report draws, by kind.
        damaged: rows of its document that can't be drawn; they change no verdict.
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
    artefacts: Artefacts = field(default_factory=Artefacts)
    damaged: tuple[Damaged, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    duration_s: float = 0.0
    overtaken: str = ""

    def __repr__(self) -> str:
        return f"<Run {self.sentence()}>"

    def _repr_html_(self) -> str:
        reasons = (*self.red, *self.missing)
        return run_html(self.verdict.value, self.headline(), self.layers, reasons)

    @cached_property
    def layers(self) -> tuple[LayerSummary, ...]:
        """The ladder, from the bottom to the top."""
        about = self.checks, self.profile, self.completeness, self.waived
        return tuple(summarise(layer, *about) for layer in LAYERS)

    @cached_property
    def completeness(self) -> Completeness:
        """What the run has of what it was expected to have."""
        return Completeness(self.expected or Expectation(()), self.checks, self.faults)

    @property
    def narrowed(self) -> str:
        """What it was narrowed to, in words; empty for all of it."""
        words = self.expected.narrowed if self.expected else ()
        return ", ".join((*words, *self.profile.narrowed))

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
        reasons += [golden.complaint for golden in self.goldens if golden.verdict is Verdict.FAIL]
        reasons += [fault.complaint for fault in self.faults if fault.escaped]
        reasons += self._waivers[1]
        reasons += [check.complaint for check in self.failing]
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
        newer = f"a newer run began at {self.overtaken} and has not ended"
        reasons = [newer] if self.overtaken else []
        gaps = [(name, self._engine_gap(name)) for name in self.profile.engines]
        reasons += [f"engine {name}: {gap}" for name, gap in gaps if gap]  # before what it causes
        unseen = Verdict.NOT_EVALUATED
        reasons += [c.complaint for c in self.checks if c.gating and c.verdict is unseen]
        for layer in self.layers:
            short = self.completeness.shortfalls(layer.layer)
            told = layer.counts[unseen.value] > 0  # check by check: the layer is no further thing
            if not (short or told) and layer.required and layer.verdict is unseen:
                short = (f"layer {layer.layer}: {layer.reason}",)
            reasons += short
        reasons += [golden.complaint for golden in self.goldens if golden.verdict is unseen]
        reasons += [
            f"case {case} of {subject}: no gating check is about it"
            for subject, cases in self.profile.cases.items()
            if self.profile.name == "check"  # elsewhere the inventory says what is expected
            for case in set(cases).difference(self._cases_of(subject))
        ]
        if self.profile.faults and not self.faults:
            reasons.append("faults: no known bug was injected, so nothing shows that one is seen")
        else:
            reasons += self.completeness.faults()
        reasons += [f.complaint for f in self.faults if f.outcome is FaultOutcome.NOT_TRIED]
        reasons += self.gaps
        if not (reasons or self.checks or self.faults):
            reasons.append("it holds nothing that was evaluated")
        return tuple(reasons)

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
        """Return the verdict in one sentence, and what failed or is missing first."""
        word = self.verdict.value.upper().replace("_", " ")
        reasons = self.red or self.missing
        return f"{word}: {self.headline()}" + (f"; first: {reasons[0]}" if reasons else ".")

    def headline(self) -> str:
        """Return why the verdict is what it is, and what of it is older, without a full stop."""
        packages = self.artefacts.precision_map
        reused = sum(package.reused for package in packages)
        how = f"; an earlier run made {reused} of {len(packages)} packages (--fresh makes all anew)"
        return self._why() + (how if reused else "")

    def _why(self) -> str:
        gating = sum(check.gating for check in self.checks)
        scope = self._scope()
        injected = sum(fault.outcome is not FaultOutcome.NOT_TRIED for fault in self.faults)
        if self.verdict is Verdict.PASS:
            parts = [self._holding(gating, scope)] if gating else []
            parts += [f"{injected} of {injected} injected faults were caught"] if injected else []
            return ", and ".join(parts) or "what was looked at holds"
        if self.verdict is Verdict.FAIL:
            escaped, failed = sum(fault.escaped for fault in self.faults), len(self.failing)
            broken = len(self.red) - escaped - failed
            waived = f" ({len(self.waived)} more waived)" if self.waived else ""
            parts = [f"{failed} of {gating} gating checks failed{scope}{waived}"]
            parts = parts if gating else []
            parts += [f"{escaped} of {injected} injected faults were not caught"] * bool(escaped)
            things = "thing" if broken == 1 else "things"
            parts += [f"{broken} {things} that the checks rest on broke"] * bool(broken)
            parts += [self._unseen()] * bool(self.missing)
            return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
        waived = f" (waived failures: {len(self.waived)})" if self.waived else ""
        return f"{self._unseen()}{scope}{waived}"

    def _unseen(self) -> str:
        things = "thing was" if len(self.missing) == 1 else "things were"
        return f"{len(self.missing)} required {things} not looked at"

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

        A row that can't be drawn is kept apart, in ``damaged``; everything else has to be right.

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
        rows, damaged = read_rows(given.pop("artefacts"), "run.artefacts")
        run: Run = restored(cls, given, "run")
        return replace(run, artefacts=rows, damaged=(*run.damaged, *damaged))

    @cached_property
    def _waivers(self) -> tuple[Mapping[str, Waiver], tuple[str, ...]]:
        return covered(self.waivers, self.checks, self.started)

    def _scope(self) -> str:
        """Return what the verdict is about, to be put behind what it says."""
        about = f" for {' and '.join(self.profile.subjects)}" if self.profile.subjects else ""
        said = [f"narrowed to {self.narrowed}"] if self.narrowed else []
        given = any(check.gate and check.gate.reason == ON_REQUEST for check in self.checks)
        said += [f"gates {ON_REQUEST}"] if given else []
        return about + (f" ({', '.join(said)})" if said else "")

    def _holding(self, gating: int, scope: str) -> str:
        if not self.waived:
            return f"all {gating} gating checks hold{scope}"
        oldest = max(waiver.age_days(self.started) for waiver in self.waived.values())
        failed = (
            "1 failed and is" if len(self.waived) == 1 else f"{len(self.waived)} failed and are"
        )
        return (
            f"{gating - len(self.waived)} of {gating} gating checks hold{scope}, "
            f"{failed} waived (the oldest for {oldest} days)"
        )

    def _engine_gap(self, name: str) -> str:
        for engine in self.engines:
            if engine.name == name:
                if not engine.available:
                    return engine.reason
                return "" if engine.executed else "was available, but no check used it"
        return "is unknown to this run"

    def _cases_of(self, subject: str) -> set[str]:
        named = {"subject": subject}.items()
        return {
            c.labels.get("case", "") for c in self.checks if c.gating and named <= c.labels.items()
        }

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

STORED: Final = tuple(field.name for field in fields(Run))
"""What it says beside that: all that a run is made of."""
