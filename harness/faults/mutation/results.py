"""What a campaign found: frozen values, and the JSON document of them.

The document has ``kind`` "mutations" and a ``version``; each mutation is a row of ``rows``: a list
of values in the order of ``columns``. Everything that a report shows can be computed from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from harness.faults.mutation.detector import Change, Sighting
from harness.faults.operators.site import Kind
from harness.verdicts import Verdict

DOCUMENT_KIND = "mutations"
DOCUMENT_VERSION = 1
REQUIRED_SHARE = 0.99
"""Of the mutations that change an output by more than its tolerance, how many must be caught."""

Fate = Literal["caught", "refused", "identical", "harmless", "hole"]


@dataclass(frozen=True)
class Mutation:
    """What became of one mutation.

    Attributes:
        index: the operation's place in the program.
        operation, type, module: its name, MIL type and PyTorch module ("" where unknown).
        kind, change: what was done.
        fate: ``caught`` by a check; ``refused`` by the executor, which is caught, too;
            ``identical``: the operation makes the same bits, so nothing was mutated; ``harmless``:
            no check sees it, and no output changes by more than its tolerance, also on an input
            that no check has seen; ``hole``: no check sees it, and an output does.
        case: where it was caught: a golden case, or ``constants``, where reading was enough.
        sighting: the check that saw it first.
        changes: what it does to the outputs on each input on which it ran to the end.
        reason: why it was refused.
    """

    index: int
    operation: str
    type: str
    module: str
    kind: Kind
    change: str
    fate: Fate
    case: str = ""
    sighting: Sighting | None = None
    changes: tuple[Change, ...] = ()
    reason: str = ""

    @property
    def caught(self) -> bool:
        """Whether anything saw it."""
        return self.fate in ("caught", "refused")


@dataclass(frozen=True)
class CampaignResult:
    """Every mutation of one program.

    Attributes:
        subject, recipe: what the program was converted from, and how.
        cases: the golden cases on which it was judged, in their order.
        held_out: the input that no check has seen.
        operations: number of operations of the program.
        mutations: in program order.
        sample: positions in ``mutations`` of caught ones that were run to the end all the same,
            evenly spread: what share of the caught ones matters.
        duration_s: of the whole campaign.
        provenance: versions, machine, commit and command.
    """

    subject: str
    recipe: str
    cases: tuple[str, ...]
    held_out: str
    operations: int
    mutations: tuple[Mutation, ...]
    sample: tuple[int, ...]
    duration_s: float
    provenance: Mapping[str, Any]

    def count(self, *fates: Fate) -> int:
        """Return how many mutations met one of these fates."""
        return sum(mutation.fate in fates for mutation in self.mutations)

    @property
    def mattering_share(self) -> float | None:
        """Of the caught mutations in the sample, the share that changes an output by more than its
        tolerance; None without a sample."""
        if not self.sample:
            return None
        sampled = [self.mutations[place] for place in self.sample]
        return sum(any(c.matters for c in m.changes) for m in sampled) / len(sampled)

    @property
    def caught_share(self) -> float | None:
        """Caught mutations that matter, of all that matter; None if none does.

        How many of the caught ones matter is extrapolated from the sample.
        """
        caught = self.count("caught") * (self.mattering_share or 0.0)
        holes = self.count("hole")
        return caught / (caught + holes) if caught + holes else None

    @property
    def verdict(self) -> Verdict:
        """Pass if at least `REQUIRED_SHARE` of the mutations that matter were caught."""
        share = self.caught_share
        if share is None:
            return Verdict.NOT_EVALUATED
        return Verdict.PASS if share >= REQUIRED_SHARE else Verdict.FAIL

    def survivors(self) -> tuple[Mutation, ...]:
        """Return the mutations that no check saw."""
        return tuple(m for m in self.mutations if m.fate in ("harmless", "hole"))

    def to_dict(self) -> dict[str, Any]:
        """Return the document as plain JSON data; infinities stay floats."""
        columns = [field.name for field in fields(Mutation)]
        return {
            "kind": DOCUMENT_KIND,
            "version": DOCUMENT_VERSION,
            "subject": self.subject,
            "recipe": self.recipe,
            "cases": list(self.cases),
            "held_out": self.held_out,
            "operations": self.operations,
            "verdict": self.verdict.value,
            "required_share": REQUIRED_SHARE,
            "caught_share": self.caught_share,
            "mattering_share": self.mattering_share,
            "sample": list(self.sample),
            "fates": dict(Counter(m.fate for m in self.mutations)),
            "by_type": _table((m.type, m.fate) for m in self.mutations),
            "by_change": _table((m.change, m.fate) for m in self.mutations),
            "by_check": dict(
                Counter(
                    f"{m.sighting.layer}/{m.sighting.gate}/{m.sighting.tensor}"
                    for m in self.mutations
                    if m.sighting
                ).most_common()
            ),
            "columns": columns,
            "rows": [list(asdict(m).values()) for m in self.mutations],
            "duration_s": self.duration_s,
            "provenance": dict(self.provenance),
        }


def _table(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Count pairs of a row's name and a column's."""
    table: dict[str, Counter[str]] = {}
    for row, column in pairs:
        table.setdefault(row, Counter())[column] += 1
    return {row: dict(sorted(table[row].items())) for row in sorted(table)}
