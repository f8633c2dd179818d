"""All mutations of a converted program, and what the project's checks see of them.

A mutation is a small wrong step of a converter, made in memory: every operation's result multiplied
by 1.01, something that it reads changed (by its type: a table with one function for each change),
and the operation left out where shapes allow it. Each mutated program is judged by the gates of the
layered suites (`harness.faults.mutation.detector`) against PyTorch's tensors.

What has to be caught is a mutation that *matters*: that changes an output by more than its
tolerance. Compared are the mutated and the unmutated program's outputs: each branch under the gate
``conversion`` (rtol 1e-3, atol 1e-4, SNR > 60 dB), each stem, channel and worst second under
``end_to_end`` (SNR > 60 dB).

1. Every mutation is judged on the first case. It stops at the first check that fails.
2. What no check saw there is read: its constants are compared with the checkpoint's tensors, as the
   suites do with every package.
3. What is still unseen is run on an input that no check has ever seen. This is the step that can
   find holes: on a judged case itself, an unmutated program that is 130 dB close to PyTorch and a
   mutant that is 110 dB close can't differ by 60 dB.
4. What matters there is judged on the remaining cases, as the suites would judge it. What passes
   all of them is a hole. What doesn't matter is harmless, with the measured change as its proof.

Of the caught mutations, an even sample is run to the end, too: it tells how many of them matter.
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
from harness.faults.mutation.results import CampaignResult, Fate, Mutation
from harness.faults.mutation.runner import Finding
from harness.faults.mutation.target import HELD_OUT, Source
from harness.faults.mutation.workers import Findings, Place, crew, work
from harness.faults.operators.site import Mutant, mutants
from harness.mil import Model, load
from harness.mil.editing import edited, key
from harness.mil.program import Operation
from harness.origin import provenance

Advance = Callable[[str, int, int], None]

FIRST_CASE: Final = "song"
CONSTANTS: Final = "constants"
"""In the place of a case where reading the program was enough."""
SAMPLE_EVERY: Final = 50


def run_campaign(
    source: Source,
    *,
    recipe: str,
    jobs: int = 1,
    every: int = 1,
    advance: Advance = lambda what, done, total: None,
) -> CampaignResult:
    """Mutate every operation of a package and say what was caught.

    Args:
        source: the package, the goldens and the subject.
        recipe: name of the precision recipe, for the record.
        jobs: number of processes; each needs about 1 GB for ``mini``.
        every: only each so many-th operation is mutated, for a quick look.
        advance: called as ``advance(what, done, total)``.

    Raises:
        ParityError: a golden is not usable, or the unmutated package fails a check.
    """
    started = time.perf_counter()
    model = load(source.package)
    chosen = {
        (index, which): mutant
        for index in range(0, len(model.operations), every)
        for which, mutant in enumerate(mutants(model, index))
    }
    if not chosen:
        raise ParityError(f"{source.package} has no operation that could be mutated")
    with crew(source, jobs) as do:

        def run(input: str, places: Iterable[Place], *, judged: bool = True) -> Findings:
            ordered = sorted(places)
            step = partial(advance, f"{input}, {len(ordered)} mutations")
            return work(do, input, ordered, judged=judged, advance=step)

        findings, sample = _evaluate(source, model, chosen, run)
    sidecar = read_sidecar(source.package)
    modules = sidecar.modules if sidecar else {}
    rows = []
    for place, mutant in chosen.items():
        operation = model.operations[mutant.index]
        own = {input: found[place] for input, found in findings.items() if place in found}
        rows.append(conclude(operation, mutant, modules.get(key(operation), ""), own))
    return CampaignResult(
        subject=source.subject,
        recipe=recipe,
        cases=tuple(input for input in findings if input not in (CONSTANTS, HELD_OUT)),
        held_out=HELD_OUT,
        operations=len(model.operations),
        mutations=tuple(rows),
        sample=tuple(number for number, place in enumerate(chosen) if place in sample),
        duration_s=round(time.perf_counter() - started, 1),
        provenance=provenance(),
    )


def _evaluate(
    source: Source, model: Model, chosen: Mapping[Place, Mutant], run: Callable[..., Findings]
) -> tuple[dict[str, Findings], frozenset[Place]]:
    """Take the steps of this module's docstring; return the findings by input, and the sample."""
    judged = run(FIRST_CASE, chosen)
    unseen = [place for place in chosen if not judged[place].noticed]
    read = read_constants(source, model, {place: chosen[place] for place in unseen})
    unseen = [place for place in unseen if place not in read]
    caught = [place for place in chosen if judged[place].sighting is not None]
    sample = caught[SAMPLE_EVERY // 2 :: SAMPLE_EVERY] or caught[:1]
    measured = run(HELD_OUT, unseen + sample, judged=False)
    findings = {FIRST_CASE: judged, CONSTANTS: read, HELD_OUT: measured}
    suspects = [place for place in unseen if measured[place].matters]
    for case in source.cases():
        if suspects and case != FIRST_CASE:
            findings[case] = run(case, suspects)
            suspects = [place for place in suspects if not findings[case][place].noticed]
    return findings, frozenset(sample)


def read_constants(
    source: Source, model: Model, chosen: Mapping[Place, Mutant]
) -> dict[Place, Finding]:
    """Return the mutants that comparing the constants with the checkpoint's tensors finds."""
    found = {}
    for place, mutant in chosen.items():
        if mutant.changes_constants:
            before = {key(model.operations[mutant.index]): mutant.operations[:-1]}
            sighting = source.read(edited(model, mutant.operations[-1], before=before))
            if sighting is not None:
                found[place] = Finding(sighting=sighting)
    return found


def conclude(
    operation: Operation, mutant: Mutant, module: str, findings: Mapping[str, Finding]
) -> Mutation:
    """Return what became of a mutant, from its finding on each input that it was run on."""
    seen = next(((i, f.sighting) for i, f in findings.items() if f.sighting), None)
    fate: Fate = "harmless"
    if seen:
        fate = "caught"
    elif any(finding.refused for finding in findings.values()):
        fate = "refused"
    elif all(finding.identical for finding in findings.values()):
        fate = "identical"
    elif any(finding.matters for finding in findings.values()):
        fate = "hole"
    return Mutation(
        index=operation.location.index,
        operation=operation.name,
        type=operation.type,
        module=module,
        kind=mutant.kind,
        change=mutant.change,
        fate=fate,
        case=seen[0] if seen else "",
        sighting=seen[1] if seen else None,
        changes=tuple(f.change for f in findings.values() if f.change is not None),
        reason=next((f.refused for f in findings.values() if f.refused), ""),
    )
