"""What a run sets out to evaluate, and the state of what its checks rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from harness.verdicts.checks import Verdict
from harness.verdicts.tolerances import LAYERS

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
        narrowed: what somebody narrowed it to, in words; a narrowed inventory says it by itself.
    """

    name: str
    layers: tuple[str, ...] = LAYERS
    engines: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    cases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    faults: bool = False
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    narrowed: tuple[str, ...] = ()

    def leaves_out(self, check: str, before: Profile) -> bool:
        """Return whether a run by this profile does not set out to make a check of another one.

        Absence there is no movement. A profile that says nothing of a subject's cases has all.

        Args:
            check: its identity, ``layer/gate/subject/case/recipe/...`` with the labels that it has.
            before: the profile of the run that has it.
        """
        layer, _, rest = check.partition("/")
        labels = f"/{rest.partition('/')[2]}/"
        if layer in before.layers and layer not in self.layers:
            return True
        left_out = {*before.subjects} - {*self.subjects} | {*before.recipes} - {*self.recipes}
        if any(f"/{name}/" in labels for name in left_out):
            return True
        for subject, cases in self.cases.items():
            if labels.startswith(f"/{subject}/"):  # the first label, if there is one
                case = labels[len(subject) + 2 :].partition("/")[0]
                # In a check that is about no case, a recipe or an engine stands there.
                return case not in (*cases, *before.recipes, *before.engines)
        return False


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

    @property
    def verdict(self) -> Verdict:
        """What it does to a run: sound lets it be green, broken turns it red."""
        if self.status in GREEN_GOLDENS:
            return Verdict.PASS
        return Verdict.FAIL if self.status in RED_GOLDENS else Verdict.NOT_EVALUATED

    @property
    def complaint(self) -> str:
        """Why a run with it is not green, in one line."""
        return f"golden {self.subject}/{self.case}: {self.message}"
