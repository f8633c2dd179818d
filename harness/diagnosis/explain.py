"""The decision path of somebody who debugs accuracy, walked through for one run.

In: a run, and where there is one, a three-way diagnosis and a headroom audit of the package that
failed. Out: questions with their answers, in the order in which an engineer asks them, each with
its evidence, and commands to go on with. ``docs/debugging-accuracy.md`` draws the same path.

The layers stand on each other, so the lowest one that fails is looked at first, and of its checks
the first in the order of the network: what comes later has inherited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from harness.diagnosis.failures import (
    BEFORE_VALUES,
    closest_check,
    failed_checks,
    largest_drop,
    says_it_all,
    tap_before,
)
from harness.diagnosis.findings import NEXT_STEPS, TARGET_DB, Conclusion, ThreeWay
from harness.diagnosis.headroom import HeadroomAudit
from harness.diagnosis.next_steps import NextSteps, judged_package
from harness.verdicts import LAYERS, Check, Run, Verdict
from harness.verdicts.rows.packages import Explanation, Step

_MEANINGS: Final = {
    "ops": "an operation of the executor is not what mathematics says: nothing above it counts",
    "stft": "the transform around the network differs from PyTorch's: window, scale, padding",
    "surgery": "the network that was cut out is not the original: nothing was converted yet",
    "conversion": "the package differs from the network that it was made from",
    "end_to_end": "the stems differ though the network does not: look at the transform, the "
    "segments and the overlap",
}
_ALONE: Final = (
    "the stems differ; the network alone was not compared, so it is not known where that begins"
)
"""What a failure end to end means where nothing below it was looked at."""
_CONCLUSIONS: Final[dict[Conclusion, str]] = {
    "as good as it has to be": "No: each output of the network reaches what its precision allows, "
    "over 60 dB as a whole; a stem, a second or an element of it may still fail.",
    "fp16 is not enough": "No, but its precision is not enough: what it allows is below 60 dB.",
    "worse than fp16 has to be": "Yes: rounded once for each operation, it would be better.",
    "another computation": "It computes something else than the reference, whatever its precision.",
    "not evaluated": "Not evaluated: an output has no counterpart in the reference.",
}
_SHOWN: Final = 5


def focus_of(run: Run) -> Mapping[str, str]:
    """Return the labels of what to look at first: of the first check that failed.

    Failed gating checks come before exploratory ones. Where none failed, it is the run's first
    subject, if it has one.
    """
    first = next(iter(failed_checks(run)), None)
    if first is not None:
        return first.labels
    return {"subject": run.profile.subjects[0]} if run.profile.subjects else {}


def explain(
    run: Run,
    *,
    package: str = "",
    reference: str = "",
    diagnosis: ThreeWay | None = None,
    headroom: HeadroomAudit | None = None,
) -> Explanation:
    """Return the decision path of a run.

    Args:
        run: as it was written.
        package: the path of the package that failed, for the commands; without one, they speak of
            the package that the run judged, or begin with a conversion if it made its own.
        reference: of a package in an adapter, one in FP32 from its own converter.
        diagnosis: of the package that failed, on the case of `focus_of`.
        headroom: of that package, likewise.
    """
    package = package or judged_package(run)
    tune = NextSteps(run, _aim(run), package, reference).tune()
    steps: list[Step] = []
    commands: list[str] = []
    for walk in (_harness, _layer, partial(_place, package, reference)):
        found = walk(run)
        steps.append(found[0])
        commands += found[1]
        if found[2]:
            break
    for answer, more in (*_diagnosed(diagnosis, tune), *_audited(headroom)):
        steps.append(answer)
        commands += more
    return Explanation(tuple(steps), tuple(dict.fromkeys(commands)))


_Found = tuple[Step, list[str], bool]
"""A step on the path, commands, and whether the path ends here."""


def _aim(run: Run) -> Check | None:
    """Return the failed check that more FP32 may help: the first that compares what comes out."""
    failed = failed_checks(run)
    aimed = (
        c for c in failed if c.gate is not None and c.gate.name in ("conversion", "end_to_end")
    )
    return next(aimed, failed[0] if failed else None)


def _harness(run: Run) -> _Found:
    question = "Can the run be trusted?"
    goldens = [g for g in run.goldens if g.status in ("corrupt", "drift")]
    if run.problems or goldens:
        evidence = (*run.problems, *(f"golden {g.subject}/{g.case}: {g.message}" for g in goldens))
        words = "No: the harness or a golden broke, so no number in it means anything."
        return Step(question, words, evidence), ["parity doctor", "parity golden verify"], True
    if run.verdict is Verdict.NOT_EVALUATED:
        words = f"Nothing failed, but {len(run.missing)} required thing(s) were not looked at."
        answer = Step(question, words, run.missing[:_SHOWN])
        return answer, ["parity doctor"], not failed_checks(run)
    words = "Yes: everything that it set out to evaluate was evaluated."
    if run.missing:
        words = f"As far as it goes: {len(run.missing)} required thing(s) were not looked at."
    return Step(question, words, run.missing[:_SHOWN]), [], False


def _layer(run: Run) -> _Found:
    question = "Which layer fails first?"
    failed = failed_checks(run)
    if not failed:
        return Step(question, "None: every check holds.", closest_check(run)), [], True
    first = failed[0]
    if not first.gating:
        words = f"None: every check that gates holds; {len(failed)} exploratory ones fail."
        aside = [f"exploratory: {check.id}: {check.outcome.reason}" for check in failed[:_SHOWN]]
        return Step(question, words, (*closest_check(run), *aside)), [], True
    checked = {check.layer for check in run.checks}
    below = [layer for layer in LAYERS[: LAYERS.index(first.layer)] if layer in checked]
    sound = f"; {', '.join(below)} below it hold" if below else ""
    branches = any(c.gate is not None and c.gate.name == "conversion" for c in run.checks)
    alone = first.layer == "end_to_end" and not branches
    meaning = _ALONE if alone else _MEANINGS[first.layer]
    words = f"{first.layer}{sound}. That means: {meaning}."
    counts = Counter(check.layer for check in failed)
    lines = (f"{layer}: {counts[layer]} checks failed" for layer in LAYERS if counts[layer])
    return Step(question, words, tuple(lines)), [], False


def _place(package: str, reference: str, run: Run) -> _Found:
    """Return where in its layer the first failure is."""
    question = "Where does it begin, and were the inputs right there?"
    first = failed_checks(run)[0]
    labels = first.labels
    commands = [first.command] if first.command else []
    steps = NextSteps(run, first, package, reference)
    commands += steps.of_layer()
    reason = f"{first.id}: {first.outcome.reason}"
    if first.gate is not None and first.gate.name in BEFORE_VALUES:
        words = f"Before any value: {BEFORE_VALUES[first.gate.name]}."
        if says_it_all(first):
            runs = steps.of_layer() if first.gate.name == "program" else []
            return Step(question, words, (reason,)), steps.convert_again() or runs, True
    elif labels.get("tensor", "").startswith("tap "):
        tap = labels["tensor"].removeprefix("tap ")
        before = tap_before(run, first)
        words = f"At the tap {tap!r}, the first in the order of the network that fails. " + (
            f"The one before it, {before!r}, holds: the error is born between the two."
            if before
            else "It is the first of all: the error is born before it."
        )
    else:
        seen = labels.get("tensor") or labels.get("stem") or labels.get("what", "the end")
        words = largest_drop(run, first) or (
            f"The run has no value from inside the network for {labels.get('case', 'this')}: it is "
            f"seen at {seen}."
        )
    return Step(question, words, (reason,)), commands, False


def _diagnosed(found: ThreeWay | None, tune: str) -> Iterator[tuple[Step, list[str]]]:
    if found is None:
        return
    evidence = tuple(
        f"{name}: {expected:.1f} dB if each operation of this package rounded ideally, "
        f"{target:.1f} dB in {found.target}"
        for name, (expected, target) in found.outputs.items()
    )
    words = _CONCLUSIONS[found.conclusion]
    yield Step("Is the package worse than its precision has to be?", words, evidence), []
    question = "Which operation, and why?"
    harmless = [o for o in found.culprits if not o.matters]
    aside = [
        f"harmless: {o.type} {o.operation!r} ({o.words}); what reads it is right"
        for o in harmless[:_SHOWN]
    ]
    guilty = [o for o in found.culprits if o.matters]
    if not guilty:
        words = (
            "None by itself: each is as exact as its precision allows, and their roundings add "
            "up. Only more FP32 helps."
        )
        yield Step(question, words, tuple(aside)), [tune]
        return
    first = guilty[0]
    right = first.inputs_db >= TARGET_DB
    inputs = "right" if right else f"wrong already ({first.inputs_db:.1f} dB)"
    module = f" in {first.module}" if first.module else ""
    words = (
        f"{first.type} {first.operation!r}{module}, by its {first.cause}: {first.words}. "
        f"Its inputs were {inputs}."
    )
    others = [f"{o.type} {o.operation!r}: {o.cause}, {o.words}" for o in guilty[1:_SHOWN]]
    assert first.cause is not None  # that makes it a culprit
    advice = f"What to do: {NEXT_STEPS[first.cause]}."
    remedy = [] if first.cause in ("computation", "execution") else [tune]
    yield Step(question, words, (*others, *aside, advice)), remedy


def _audited(found: HeadroomAudit | None) -> Iterator[tuple[Step, list[str]]]:
    if found is None:
        return
    question = "How near is it to the limits of FP16?"
    if not found.at_risk:
        yield Step(question, "No operation is at risk on this signal.", ()), []
        return
    words = f"At risk: {found.counted}; the first:"
    lines = [
        f"{o.type} {o.operation!r}: {risk.kind}, {risk.reason}"
        for o in found.at_risk[:_SHOWN]
        for risk in o.risks
    ]
    yield Step(question, words, tuple(lines)), []
