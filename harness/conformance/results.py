"""What became of each test, and the document that sums it up.

A test *passed* only if at least one prediction of it went through the bridge: one that merely
converted a model, or inferred a type, is counted as ``converted_only``. One that turned out to be
about another kind of model than ML Programs is counted as ``other_kind``, whatever became of it.
One that failed because the export to ONNX refuses its program by name is counted as ``refused``: it
says nothing of what is exported. The executor of this project refuses nothing so.
The verdict fails closed:

- **fail**: a test failed without a waiver, a waiver is stale, or a test process died;
- **not evaluated**: nothing failed, but no test predicted anything;
- **pass**: neither.

The document is JSON of kind ``conformance`` and version `VERSION`.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.bounded import parse_json
from harness.errors import RunError
from harness.verdicts import EXIT_CODES, Verdict
from harness.verdicts.jsondata import document_text, plain, restored
from harness.verdicts.rows.documents import ListedRow, TestedRow

KIND: Final = "conformance"
VERSION: Final = 1
FILES: Final = ("conformance.json", "conformance.md")
"""What a run writes, together: the document, and a summary of it."""


class CaseStatus(enum.Enum):
    """What became of one test."""

    PASSED = "passed"
    FAILED = "failed"
    WAIVED = "waived"
    CONVERTED_ONLY = "converted_only"
    OTHER_KIND = "other_kind"
    REFUSED = "refused"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CaseResult:
    """One test.

    Attributes:
        id: its pytest identity, relative to the folder of the suite.
        outcome: what became of it.
        operations: types of the operations in all programs that it loaded, sorted.
        predictions: how many predictions it made.
        reason: why it failed or was skipped; of a waived one, the waiver's reason.
    """

    id: str
    outcome: CaseStatus
    operations: tuple[str, ...] = ()
    predictions: int = 0
    reason: str = ""

    @property
    def function(self) -> str:
        """The test without its parameters."""
        return self.id.partition("[")[0]


@dataclass(frozen=True)
class Conformance:
    """The outcome of one conformance run.

    Attributes:
        selection: which tests were asked for, in words.
        collected: how many tests of ML Programs the suite has.
        counts: number of tests by outcome.
        predictions: how many predictions the bridge answered.
        operations: one row for each type, by name. One test counts for every type in its programs,
            so the rows add up to more than the tests.
        failures: every failed test.
        waived: every test that failed and is waived.
        converted_only: tests without a prediction, by test function.
        other_kind: tests about other kinds of models, by test function.
        refused: tests with a program that the engine refuses by name, by test function.
        skipped: tests that skipped themselves, by reason.
        stale_waivers: waivers that no longer hold: the test passes, or does not exist.
        problems: what broke in the run itself.
        provenance: versions, machine, commit.
        started: ISO 8601 in UTC.
    """

    selection: str
    collected: int
    counts: Mapping[str, int]
    predictions: int
    operations: tuple[TestedRow, ...]
    failures: tuple[CaseResult, ...] = ()
    waived: tuple[CaseResult, ...] = ()
    converted_only: Mapping[str, int] = field(default_factory=dict)
    other_kind: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    stale_waivers: tuple[ListedRow, ...] = ()
    problems: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    duration_s: float = 0.0

    @property
    def executed(self) -> int:
        """Tests that had to predict: passed, failed or waived."""
        return sum(self.counts.get(o.value, 0) for o in _EXECUTED)

    @property
    def red(self) -> tuple[str, ...]:
        """Every reason why the run fails."""
        reasons = list(self.problems)
        reasons += [f"{result.id}: {result.reason}" for result in self.failures]
        reasons += [f"stale waiver {waiver.id}: {waiver.reason}" for waiver in self.stale_waivers]
        return tuple(reasons)

    @property
    def verdict(self) -> Verdict:
        """The answer of the run."""
        if self.red:
            return Verdict.FAIL
        return Verdict.PASS if self.predictions and self.executed else Verdict.NOT_EVALUATED

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 not evaluated."""
        return EXIT_CODES[self.verdict]

    def sentence(self) -> str:
        """Return the verdict in one sentence."""
        passed, waived = self.counts.get("passed", 0), self.counts.get("waived", 0)
        if self.verdict is Verdict.NOT_EVALUATED:
            return f"NOT EVALUATED: no test of the selection ({self.selection}) made a prediction."
        numbers = f"{passed} of {self.executed} executed tests passed, {waived} waived"
        if self.verdict is Verdict.PASS:
            return f"PASS: {numbers}; {self.predictions} predictions."
        first = " ".join(self.red[0].split())[:300]
        return f"FAIL: {numbers}, {len(self.failures)} failed; first: {first}"

    def to_json(self) -> str:
        """Return the document; the same run always gives the same bytes."""
        head = {"kind": KIND, "version": VERSION, "verdict": self.verdict.value}
        return document_text({**head, "sentence": self.sentence(), **plain(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Conformance:
        """Read a document; the verdict is computed again, not trusted.

        Raises:
            RunError: the text is no such document, or of another version.
        """
        try:
            document = parse_json(text)
        except ValueError as error:
            raise RunError(f"not a conformance document: malformed JSON ({error})") from error
        found = document.get("kind") if isinstance(document, dict) else None
        if found != KIND or document.get("version") != VERSION:
            raise RunError(
                f"expected a document of kind {KIND!r}, version {VERSION}, not of kind {found!r}; "
                "make it with 'parity conformance'"
            )
        derived = ("kind", "version", "verdict", "sentence")
        given = {name: value for name, value in document.items() if name not in derived}
        conformance: Conformance = restored(cls, given, "conformance document")
        return conformance


_EXECUTED = (CaseStatus.PASSED, CaseStatus.FAILED, CaseStatus.WAIVED)


def summarise(results: Sequence[CaseResult], **more: Any) -> Conformance:
    """Count ``results``; ``more`` are the other fields of `Conformance`."""
    by_outcome = {o: [r for r in results if r.outcome is o] for o in CaseStatus}
    return Conformance(
        counts={o.value: len(found) for o, found in by_outcome.items()},
        predictions=sum(result.predictions for result in results),
        operations=_rows(results),
        failures=tuple(by_outcome[CaseStatus.FAILED]),
        waived=tuple(by_outcome[CaseStatus.WAIVED]),
        converted_only=_counted(r.function for r in by_outcome[CaseStatus.CONVERTED_ONLY]),
        other_kind=_counted(r.function for r in by_outcome[CaseStatus.OTHER_KIND]),
        refused=_counted(r.function for r in by_outcome[CaseStatus.REFUSED]),
        skipped=_counted(r.reason for r in by_outcome[CaseStatus.SKIPPED]),
        **more,
    )


def _rows(results: Sequence[CaseResult]) -> tuple[TestedRow, ...]:
    counts: Counter[tuple[str, CaseStatus]] = Counter()
    for result in results:
        if result.outcome in _EXECUTED:
            counts.update((operation, result.outcome) for operation in result.operations)
    names = sorted({operation for operation, _ in counts})
    return tuple(TestedRow(name, *(counts[name, o] for o in _EXECUTED)) for name in names)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
