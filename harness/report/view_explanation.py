"""View model of an explanation: which operation is wrong, and why, question by question.

In: the ``explanation`` rows of a run. Out: steps with their answers and evidence, and commands.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.reading import rows, sequence, whole
from harness.verdicts import Run
from harness.verdicts.artefacts import VERSION


@dataclass(frozen=True)
class Step:
    """One question with its answer."""

    question: str
    answer: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class ExplanationView:
    """The whole path."""

    steps: tuple[Step, ...]
    commands: tuple[str, ...]


def explanation_views(run: Run) -> tuple[ExplanationView, ...]:
    """Return a view for each explanation in the run."""
    views = []
    for row in rows(run, "explanation"):
        if whole(row, "version") != VERSION:
            continue
        parts = (sequence(row.get(key)) for key in ("questions", "answers", "evidence"))
        steps = tuple(
            Step(str(question), str(answer), tuple(map(str, sequence(evidence))))
            for question, answer, evidence in zip(*parts, strict=False)
        )
        views.append(ExplanationView(steps, tuple(map(str, sequence(row.get("commands"))))))
    return tuple(views)
