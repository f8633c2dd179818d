"""What a campaign found: frozen values, and the JSON document of them.

The document has ``kind`` "mutations" and a ``version``; each mutant is a row of ``rows``: a list of
values in the order of ``columns``. Everything that a report shows can be computed from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, get_args

from harness.faults.mutation.detector import Change, Detection
from harness.faults.operators.site import Kind
from harness.verdicts import Verdict

DOCUMENT_KIND: Final = "mutations"
DOCUMENT_VERSION: Final = 1
REQUIRED_SCORE: Final = 0.99
"""Of the mutants that change an output by more than its tolerance, how many must be killed. The
score of a whole campaign is 1; one percent is what may be argued about, mutant by mutant."""

MutantStatus = Literal["killed", "invalid", "tolerated", "equivalent", "survived"]
STATUSES: Final[tuple[MutantStatus, ...]] = get_args(MutantStatus)


@dataclass(frozen=True)
class MutantResult:
    """What became of one mutant.

    Attributes:
        index: the operation's place in the program.
        operation, type, module: its name, MIL type and PyTorch module ("" where unknown).
        kind, change: what was done.
        status: ``killed`` by a check; ``invalid``: the executor could not run it, which nobody
            overlooks; ``equivalent``: the operation makes the same bits, so nothing was mutated;
            ``tolerated``: no check fails, and no output changes by more than its tolerance, also on
            an input that no check has seen; ``survived``: no check fails, and an output does.
        case: where it was killed: a golden case, or ``constants``, where reading was enough.
        detection: the check that saw it first.
        changes: what it does to the outputs on each input on which it ran to the end.
        reason: why it was invalid.
    """

    index: int
    operation: str
    type: str
    module: str
    kind: Kind
    change: str
    status: MutantStatus
    case: str = ""
    detection: Detection | None = None
    changes: tuple[Change, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class CampaignResult:
    """Every mutant of one program.

    Attributes:
        subject, recipe: what the program was converted from, and how.
        cases: the golden cases on which mutants were judged, in their order.
        held_out: the input that no check has seen.
        operations: number of operations of the program.
        mutants: in program order.
        sample: positions in ``mutants`` of killed ones that were run to the end all the same,
            evenly spread: what share of the killed ones matters.
        duration_s: of the whole campaign.
        provenance: versions, machine, commit and command.
    """

    subject: str
    recipe: str
    cases: tuple[str, ...]
    held_out: str
    operations: int
    mutants: tuple[MutantResult, ...]
    sample: tuple[int, ...]
    duration_s: float
    provenance: Mapping[str, Any]

    def count(self, *statuses: MutantStatus) -> int:
        """Return how many mutants have one of these statuses."""
        return sum(mutant.status in statuses for mutant in self.mutants)

    @property
    def mattering_share(self) -> float | None:
        """Of the killed mutants in the sample, the share that changes an output by more than its
        tolerance; None without a sample."""
        if not self.sample:
            return None
        sampled = [self.mutants[place] for place in self.sample]
        return sum(any(c.matters for c in m.changes) for m in sampled) / len(sampled)

    @property
    def score(self) -> float | None:
        """The mutation score: killed mutants that matter, of all that matter; None if none does.

        How many of the killed ones matter is extrapolated from the sample.
        """
        killed = self.count("killed") * (self.mattering_share or 0.0)
        survived = self.count("survived")
        return killed / (killed + survived) if killed + survived else None

    @property
    def verdict(self) -> Verdict:
        """Pass if the score is at least `REQUIRED_SCORE`."""
        if self.score is None:
            return Verdict.NOT_EVALUATED
        return Verdict.PASS if self.score >= REQUIRED_SCORE else Verdict.FAIL

    def unseen(self) -> tuple[MutantResult, ...]:
        """Return the mutants that ran and that no check saw, whether they matter or not."""
        return tuple(m for m in self.mutants if m.status in ("tolerated", "survived"))

    def to_dict(self) -> dict[str, Any]:
        """Return the document as plain JSON data; infinities stay floats."""
        seen = [m.detection for m in self.mutants if m.detection]
        by_check = Counter(f"{d.layer}/{d.gate}/{d.tensor}" for d in seen)
        return {
            "kind": DOCUMENT_KIND,
            "version": DOCUMENT_VERSION,
            **{name: value for name, value in vars(self).items() if name != "mutants"},
            "verdict": self.verdict.value,
            "required_score": REQUIRED_SCORE,
            "score": self.score,
            "mattering_share": self.mattering_share,
            "statuses": dict(Counter(m.status for m in self.mutants)),
            "by_type": _table((m.type, m.status) for m in self.mutants),
            "by_change": _table((m.change, m.status) for m in self.mutants),
            "by_check": dict(by_check.most_common()),
            "columns": [field.name for field in fields(MutantResult)],
            "rows": [list(asdict(m).values()) for m in self.mutants],
        }


def _table(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Count pairs of a row's name and a column's."""
    table: dict[str, Counter[str]] = {}
    for row, column in pairs:
        table.setdefault(row, Counter())[column] += 1
    return {row: dict(sorted(table[row].items())) for row in sorted(table)}
