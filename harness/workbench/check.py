"""A package judged against its model: what ``parity check`` does.

Every comparison is gating here, whatever recipe made the package: whoever asks for a verdict on a
package wants one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from demucs.apply import BagOfModels, apply_model

from harness.audio import SEGMENT_LENGTH, SEGMENT_OVERLAP, AudioReader, read_audio, separate_stream
from harness.conversion import (
    Sidecar,
    audit_package,
    check_contract,
    compare_weights,
    read_sidecar,
)
from harness.mil import Model
from harness.profiles import DEFAULT, engine_states
from harness.subjects import Subject, separate_segment
from harness.verdicts import (
    Check,
    Outcome,
    Profile,
    bound,
    compare,
    compare_worst_second,
    failed,
    gate,
    not_evaluated,
)
from harness.verdicts.collector import Collector
from harness.workbench.bench import Workbench
from harness.workbench.separator import subject_sources

Advance = Callable[[int, int], None]


def check_package(
    bench: Workbench,
    package: Path,
    subject: str,
    *,
    cases: tuple[str, ...],
    audio: Path | None,
    advance: Advance,
) -> Collector:
    """Compare a package with its subject on golden cases, or on an audio file.

    Args:
        bench: where goldens and sessions come from.
        package: the ``.mlpackage``.
        subject: name of the model that it should equal.
        cases: golden cases; empty with ``audio``.
        audio: an audio file, compared with PyTorch on the same segments.
        advance: called as ``advance(done, total)``.

    Raises:
        ContractError: the package has other inputs or outputs than the model contract.
        ParityError: anything else that is wrong with the input.
    """
    check_contract(package, len(subject_sources(subject)))
    # A golden was executed by PyTorch when it was built; a file is executed by it now.
    layers = ("conversion", "end_to_end") if cases else ("end_to_end",)
    engines = ("mil",) if cases else DEFAULT.engines
    profile = Profile("check", layers, engines, (subject,), (), {subject: cases})
    collector = Collector(profile, engine_states())
    labels = {"subject": subject, "engine": "mil", "numerics": bench.numerics}
    for check in paperwork_checks(package, bench.subject(subject), labels):
        collector.add_check(check)
    for done, case in enumerate(cases):
        advance(done, len(cases))
        collector.add_golden(bench.golden_state(subject, case))
        for check in _case_checks(bench, package, subject, labels | {"case": case}):
            collector.add_check(check)
        collector.executed("mil")
    if audio is not None:
        for check in _file_checks(bench, package, subject, audio, labels, advance):
            collector.add_check(check)
        collector.executed("torch")
        collector.executed("mil")
    return collector


def paperwork_checks(
    package: Path | Model, subject: Subject, labels: dict[str, str]
) -> Iterator[Check]:
    """Judge what a package holds and declares: its constants, and its precision.

    A package that says nothing (a stranger's) gets no check: nothing claimed, nothing false.
    """
    sidecar: Sidecar | None = read_sidecar(package)
    if sidecar is None:
        return
    outcome = judge_weights(package, subject)
    yield _check("conversion", "weights", outcome, labels | {"what": "constants"})
    audit = audit_package(package, sidecar.recipe)
    if audit.verdict == "not_evaluated":
        outcome = not_evaluated(audit.reason)
    else:
        outcome = bound(len(audit.differences), gate("audit"), what="operations that differ")
    labels = {**labels, "recipe": sidecar.recipe.name, "what": "precision of every operation"}
    yield _check("conversion", "audit", outcome, labels)


def judge_weights(package: Path | Model, subject: Subject) -> Outcome:
    """Compare the constants of a package with the tensors of its subject, a single model."""
    found = compare_weights(package, subject.model)
    if found.verdict == "not_evaluated":
        return not_evaluated(found.reason)
    if found.verdict == "pass":
        return bound(0, gate("weights"), what="tensors that differ")
    sidecar = read_sidecar(package)
    recorded = sidecar.facts.get("fingerprint", "") if sidecar else ""
    reason = found.reason
    if recorded not in ("", subject.fingerprint):
        reason = (
            f"the package was converted from other weights ({recorded[:12]}) than "
            f"{subject.name} has ({subject.fingerprint[:12]}): convert it again; {reason}"
        )
    return failed(
        reason,
        expected=f"{found.compared} tensors of {subject.name}",
        observed=f"{len(found.differences)} others",
    )


def _case_checks(
    bench: Workbench, package: Path, subject: str, labels: dict[str, str]
) -> Iterator[Check]:
    golden = bench.golden(subject, labels["case"]).require()
    if bench.goldens.cases[labels["case"]].is_file:
        separate = bench.separator(subject, package)
        blocks = iter([golden["audio"][0]])
        stems = np.concatenate(list(separate_stream(blocks, separate)), axis=-1)
    else:
        made = bench.prediction(subject, labels["case"], package)
        stems = made.stems
        for branch in ("freq", "time"):
            outcome = compare(golden[branch], made.outputs[branch], gate("conversion"))
            yield _check("conversion", "conversion", outcome, labels | {"tensor": branch})
    yield from stem_checks(golden["stems"], stems, subject, labels)


def _file_checks(
    bench: Workbench,
    package: Path,
    subject: str,
    audio: Path,
    labels: dict[str, str],
    advance: Advance,
) -> Iterator[Check]:
    loaded = bench.subject(subject)
    labels = {**labels, "case": audio.name}
    done = 0

    def original(segment: np.ndarray) -> np.ndarray:
        nonlocal done
        done += 1
        advance(done, 2 * total)
        stems: np.ndarray = separate_segment(loaded, torch.from_numpy(segment)).numpy()
        return stems

    with AudioReader(audio) as reader:
        total = -(-reader.frames // (SEGMENT_LENGTH - SEGMENT_OVERLAP))
        expected = np.concatenate(list(separate_stream(reader.blocks(), original)), axis=-1)
    actual = bench.file_stems(subject, audio, package)
    advance(2 * total, 2 * total)
    yield from stem_checks(expected, actual, subject, labels)
    yield from _against_demucs(loaded, audio, actual, labels)


def stem_checks(
    expected: np.ndarray, actual: np.ndarray, subject: str, labels: dict[str, str]
) -> Iterator[Check]:
    """Compare every stem: as a whole, each channel, and its worst second.

    Args:
        expected, actual: [S, 2, n].
        subject: names the stems.
        labels: of every check.
    """
    bounds = gate("end_to_end")
    for index, stem in enumerate(subject_sources(subject)):
        labels = {**labels, "stem": stem}
        yield _check(
            "end_to_end", "end_to_end", compare(expected[index], actual[index], bounds), labels
        )
        for channel, name in enumerate(("left", "right")):
            outcome = compare(expected[index, channel], actual[index, channel], bounds)
            yield _check("end_to_end", "end_to_end", outcome, labels | {"channel": name})
        outcome = compare_worst_second(expected[index], actual[index], bounds)
        yield _check("end_to_end", "end_to_end", outcome, labels | {"what": "worst second"})


def _against_demucs(
    subject: Subject, audio: Path, actual: np.ndarray, labels: dict[str, str]
) -> Iterator[Check]:
    """Compare with Demucs' own way through a file, which fades and pads otherwise: a diagnosis."""
    model = subject.models[0]
    if len(subject.models) > 1:
        weights = [list(row) for row in subject.bag_weights]
        model = BagOfModels(list(subject.models), weights)
    mixture = torch.from_numpy(read_audio(audio))[None]
    overlap = SEGMENT_OVERLAP / SEGMENT_LENGTH
    with torch.no_grad():
        stems = apply_model(model, mixture, shifts=0, overlap=overlap)[0].numpy()
    for index, stem in enumerate(subject.sources):
        outcome = compare(stems[index], actual[index], gate("end_to_end"))
        what = "against demucs.apply_model, a diagnosis"
        yield _check(
            "end_to_end", "end_to_end", outcome, {**labels, "stem": stem, "what": what}, False
        )


def _check(
    layer: str, gate_name: str, outcome: Outcome, labels: dict[str, str], gating: bool = True
) -> Check:
    return Check(layer, dict(labels), gating, gate(gate_name), outcome)
