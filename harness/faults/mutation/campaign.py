"""All mutants of a converted program, and which of them the project's checks kill.

A mutant is a small wrong step of a converter, made in memory: every operation's result multiplied
by 1.01, something that it reads changed (by its type: `harness.faults.operators` has one function
for each change), and the operation left out where shapes allow it. Each is judged by the gates of
the layered suites (`harness.faults.mutation.detector`) against PyTorch's tensors.

What has to be killed is a mutant that *matters*: that changes an output by more than its tolerance.
Compared are the mutant's and the unmutated program's outputs: each branch under the gate
``conversion`` (rtol 1e-3, atol 1e-4, SNR > 60 dB), each stem, channel and worst second under
``end_to_end`` (SNR > 60 dB).

1. Every mutant is judged on the first case. It stops at the first check that fails.
2. What no check saw there is read: its constants are compared with the checkpoint's tensors, as the
   suites do with every package.
3. What is still alive is run on an input that no check has ever seen. This is the step that can
   find survivors that matter: on a judged case itself, an unmutated program that is 130 dB close to
   PyTorch and a mutant that is 110 dB close can't differ by 60 dB.
4. What matters there is judged on the remaining cases, as the suites would judge it. What passes
   all of them has survived. What doesn't matter is tolerated, with the measured change as proof.

Of the killed mutants, an even sample is run to the end, too: it tells how many of them matter.
The result does not depend on the number of processes: each works with one thread, and every mutant
starts from the same bits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from harness.conversion import read_sidecar
from harness.errors import ParityError
from harness.faults.mutation.results import CampaignResult, MutantResult, MutantStatus
from harness.faults.mutation.runner import MutantRun
from harness.faults.mutation.target import HELD_OUT, MutationTarget
from harness.faults.mutation.workers import Place, Runs, run_mutants, workers
from harness.faults.operators import Mutant, mutants
from harness.mil import Model, load
from harness.mil.editing import edited, key
from harness.mil.program import Operation
from harness.origin import provenance

Advance = Callable[[str, int, int], None]

FIRST_CASE: Final = "song"
CONSTANTS: Final = "constants"
"""Stands for a case where reading the program was enough."""
SAMPLE_EVERY: Final = 50
"""Of the killed mutants, each so many-th is run to the end: some 90 of a whole campaign, which tell
what share of them matters with a standard error of three to four percentage points."""


def run_campaign(
    target: MutationTarget,
    *,
    recipe: str,
    jobs: int = 1,
    every: int = 1,
    advance: Advance = lambda what, done, total: None,
) -> CampaignResult:
    """Mutate every operation of a package and say which mutants were killed.

    Args:
        target: the package, the goldens and the subject.
        recipe: name of its precision recipe.
        jobs: number of processes; each needs about 1 GB for ``mini``.
        every: only each so many-th operation is mutated, for a quick look.
        advance: called as ``advance(what, done, total)``.

    Raises:
        ParityError: a golden is not usable, or the unmutated package fails a check.
    """
    started = time.perf_counter()
    model = load(target.package)
    indices = range(0, len(model.operations), every)
    chosen = {(i, which): m for i in indices for which, m in enumerate(mutants(model, i))}
    if not chosen:
        raise ParityError(f"{target.package} has no operation that could be mutated")
    runs, sample = _evaluate(target, model, chosen, jobs, advance)
    cases = (input for input in runs if input not in (CONSTANTS, HELD_OUT))
    return CampaignResult(
        subject=target.subject,
        recipe=recipe,
        cases=tuple(cases),
        held_out=HELD_OUT,
        operations=len(model.operations),
        mutants=_concluded(model, chosen, runs),
        sample=tuple(number for number, place in enumerate(chosen) if place in sample),
        duration_s=round(time.perf_counter() - started, 1),
        provenance=provenance(),
    )


def _evaluate(
    target: MutationTarget,
    model: Model,
    chosen: Mapping[Place, Mutant],
    jobs: int,
    advance: Advance,
) -> tuple[dict[str, Runs], frozenset[Place]]:
    """Take the steps of this module's docstring; return the runs by input, and the sample."""
    with workers(target, jobs) as do:

        def run(input: str, places: Iterable[Place], *, judged: bool = True) -> Runs:
            ordered = sorted(places)
            step = partial(advance, f"{input}, {len(ordered)} mutants")
            return run_mutants(do, input, ordered, judged=judged, advance=step)

        first = run(FIRST_CASE, chosen)
        alive = [place for place in chosen if not first[place].ended]
        read = read_constants(target, model, {place: chosen[place] for place in alive})
        alive = [place for place in alive if place not in read]
        killed = [place for place in chosen if first[place].detection is not None]
        # from the middle of the first fifty, so that the sample is centred in the program
        sample = killed[SAMPLE_EVERY // 2 :: SAMPLE_EVERY] or killed[:1]
        measured = run(HELD_OUT, alive + sample, judged=False)
        runs = {FIRST_CASE: first, CONSTANTS: read, HELD_OUT: measured}
        suspects = [place for place in alive if measured[place].matters]
        for case in target.cases():
            if suspects and case != FIRST_CASE:
                runs[case] = run(case, suspects)
                suspects = [place for place in suspects if not runs[case][place].ended]
    return runs, frozenset(sample)


def read_constants(
    target: MutationTarget, model: Model, chosen: Mapping[Place, Mutant]
) -> dict[Place, MutantRun]:
    """Return the mutants that comparing the constants with the checkpoint's tensors finds."""
    found = {}
    for place, mutant in chosen.items():
        if mutant.changes_constants:
            before = {key(model.operations[mutant.index]): mutant.operations[:-1]}
            detection = target.read(edited(model, mutant.operations[-1], before=before))
            if detection is not None:
                found[place] = MutantRun(detection=detection)
    return found


def _concluded(
    model: Model, chosen: Mapping[Place, Mutant], runs: Mapping[str, Runs]
) -> tuple[MutantResult, ...]:
    sidecar = read_sidecar(model)
    modules = sidecar.modules if sidecar else {}
    rows = []
    for place, mutant in chosen.items():
        operation = model.operations[mutant.index]
        own = {input: made[place] for input, made in runs.items() if place in made}
        rows.append(conclude(operation, mutant, modules.get(key(operation), ""), own))
    return tuple(rows)


def conclude(
    operation: Operation, mutant: Mutant, module: str, runs: Mapping[str, MutantRun]
) -> MutantResult:
    """Return what became of a mutant, from its run on each input."""
    seen = next(((i, run.detection) for i, run in runs.items() if run.detection), None)
    status: MutantStatus = "tolerated"
    if seen:
        status = "killed"
    elif any(run.invalid for run in runs.values()):
        status = "invalid"
    elif all(run.equivalent for run in runs.values()):
        status = "equivalent"
    elif any(run.matters for run in runs.values()):
        status = "survived"
    return MutantResult(
        index=operation.location.index,
        operation=operation.name,
        type=operation.type,
        module=module,
        kind=mutant.kind,
        change=mutant.change,
        status=status,
        case=seen[0] if seen else "",
        detection=seen[1] if seen else None,
        changes=tuple(run.change for run in runs.values() if run.change is not None),
        reason=next((run.invalid for run in runs.values() if run.invalid), ""),
    )
