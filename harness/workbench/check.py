"""A package judged against its model: what ``parity check`` does.

It asks of one package what a run asks, by the same functions (`harness.layers`): its papers, its
branches and taps, what its precision allows, its stems and their quality. Every gate that the
recipe claims is gating; a recipe that claims nothing (an exploratory one, or a stranger's) is held
to all of them, because whoever asks for a verdict on a package wants one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from demucs.apply import BagOfModels, apply_model

from harness.audio import SEGMENT_LENGTH, SEGMENT_OVERLAP, AudioReader, read_audio, separate_stream
from harness.conversion import PrecisionRecipe, audit_package, read_sidecar
from harness.golden.builder import observe_segment
from harness.layers import (
    Tensors,
    audible_check,
    branch_checks,
    first_failing,
    precision_checks,
    quality_checks,
    repeat_check,
    stem_checks,
)
from harness.metrics import ReferenceProjection, rms, separation_metrics
from harness.profiles import engine_states
from harness.subjects import Subject, separate_segment
from harness.subjects.names import parse_subject_name
from harness.verdicts import Check, Gate, Profile, compare, gate
from harness.verdicts.collector import Collector
from harness.workbench import figures
from harness.workbench.bench import (
    Prediction,
    Workbench,
    describe_package,
    inner_taps,
    predict_segment,
)
from harness.workbench.operations import tap_series
from harness.workbench.papers import paper_checks
from harness.workbench.quality import stem_qualities

DEFAULT_CASES: Final = ("song", "hot", "quiet", "silence")
"""Music; noise driven into clipping and noise at -60 dBFS, where what overflows and what vanishes
shows; and silence, out of which nothing may come."""
LAYERS: Final = ("conversion", "end_to_end")
UNKNOWN: Final = PrecisionRecipe("unknown", "fp16", gating=True)
"""Of a package that says nothing of itself: it is held to every gate, and nothing is predicted."""

Advance = Callable[[str, int, int], None]
"""Called with what comes next, the number of steps done, and of all steps."""


@dataclass(frozen=True)
class Inquiry:
    """What is asked of a package.

    Attributes:
        package: the ``.mlpackage``.
        subject: name of the single model that it should equal.
        recipe: the precision that it should have; None takes the one that it records.
        cases: golden cases.
        audio: an audio file, compared with PyTorch on the same segments.
        layers: of `LAYERS`.
        bounds: by the name of a gate, what must hold in its place.
    """

    package: Path
    subject: str
    recipe: PrecisionRecipe | None = None
    cases: tuple[str, ...] = DEFAULT_CASES
    audio: Path | None = None
    layers: tuple[str, ...] = LAYERS
    bounds: Mapping[str, Gate] = field(default_factory=dict)


def check_package(bench: Workbench, inquiry: Inquiry, advance: Advance) -> Collector:
    """Judge a package; the collector gives the run.

    Args:
        bench: where goldens, conversions and sessions come from.
        inquiry: what is asked.
        advance: is told of progress.

    Raises:
        ParityError: the package, the audio or a golden can't be read, or the subject is a bag.
    """
    examination = _Examination(bench, inquiry, advance)
    if examination.papers():
        examination.cases()
        examination.file()
        examination.audible()
    return examination.collector


class _Examination:
    """One package on its way through the layers."""

    def __init__(self, bench: Workbench, inquiry: Inquiry, advance: Advance) -> None:
        self._bench, self._inquiry, self._advance = bench, inquiry, advance
        self._subject: Subject = bench.subject(inquiry.subject)
        sidecar = read_sidecar(inquiry.package)
        self._recipe = inquiry.recipe or (sidecar.recipe if sidecar else None)
        recipe = self._recipe or UNKNOWN
        gates = recipe.gates if recipe.gating else ()
        self._claims = replace(recipe, gating=True, gates=gates)
        self._labels = {
            "subject": inquiry.subject,
            "recipe": recipe.name,
            "engine": "mil",
            "numerics": bench.numerics,
        }
        cases = () if inquiry.audio else inquiry.cases
        profile = Profile(
            name="check",
            layers=inquiry.layers,
            engines=("torch", "mil") if inquiry.audio else ("mil",),
            subjects=(inquiry.subject,),
            recipes=(recipe.name,),
            cases={inquiry.subject: cases},
        )
        self.collector = Collector(profile, engine_states())
        self._steps = 1 + (2 if inquiry.audio else len(cases))
        self._done = 0
        self._expected_stems: list[np.ndarray] = []

    def papers(self) -> bool:
        """Judge what the package declares and holds; False if it can't be executed as it is."""
        self._step("reading the package")
        if self._recipe is not None:
            audit = audit_package(self._inquiry.package, self._recipe)
            row = describe_package(self._inquiry.subject, audit, self._recipe)
            self.collector.add_artefact("precision_map", row)
        labels = {name: self._labels[name] for name in ("subject", "recipe")}
        checks = list(paper_checks(self._inquiry.package, self._subject, self._recipe, labels))
        self._add(checks)
        return first_failing(c for c in checks if c.gate and c.gate.name == "contract") is None

    def cases(self) -> None:
        """Judge the package on every golden case."""
        if self._inquiry.audio is not None:
            return
        for case in self._inquiry.cases:
            self._step(case)
            self.collector.add_golden(self._bench.golden_state(self._inquiry.subject, case))
            self._case(case, self._labels | {"case": case})

    def _case(self, case: str, labels: dict[str, str]) -> None:
        bench, subject, package = self._bench, self._inquiry.subject, self._inquiry.package
        golden = bench.golden(subject, case).require()
        if bench.goldens.cases[case].is_file:
            separate = bench.separator(subject, package)
            blocks = iter([golden["audio"][0]])
            stems = np.concatenate(list(separate_stream(blocks, separate)), axis=-1)
        else:
            made = bench.prediction(subject, case, package)
            predicted = None
            if self._recipe is not None and not self._recipe.is_fp32:
                predicted = bench.virtual(subject, case, self._recipe)
            self._segment(golden, made, predicted, bench.taps_of(subject, case), labels)
            if case == self._inquiry.cases[0]:
                again = bench.session(package).predict(bench.inputs(subject, case))
                self._add([repeat_check(made.outputs, again, labels)])
            stems = made.stems
        self.collector.executed("mil")
        self._stems(golden["stems"], stems, labels)
        if bench.goldens.cases[case].kind == "song":
            self._music(golden, stems, labels)

    def _segment(
        self,
        expected: Tensors,
        made: Prediction,
        predicted: Prediction | None,
        taps: tuple[str, ...],
        labels: dict[str, str],
    ) -> None:
        """Judge the network on one segment: the layer conversion."""
        bounds = self._inquiry.bounds.get("conversion")
        self._add(branch_checks(expected, made.tensors, self._claims, labels, bounds=bounds))
        promised = predicted.tensors if predicted else None
        self._add(precision_checks(expected, made.tensors, promised, self._claims, taps, labels))
        if made.taps:
            row = tap_series(expected, made, labels)
            self.collector.add_artefact("error_along_network", row)
        for kind, row in figures.count_rows(expected, made.tensors, labels):
            self.collector.add_artefact(kind, row)

    def _stems(self, expected: np.ndarray, actual: np.ndarray, labels: dict[str, str]) -> None:
        """Judge stems [S, C, n]: the layer end_to_end."""
        self._expected_stems.append(expected)
        gating = self._claims.must_pass("end_to_end")
        bounds = self._inquiry.bounds.get("end_to_end")
        sources = self._subject.sources
        self._add(stem_checks(expected, actual, sources, labels, gating=gating, bounds=bounds))

    def _music(self, golden: Tensors, actual: np.ndarray, labels: dict[str, str]) -> None:
        """Judge the quality of a song's stems, and keep what the page draws of them."""
        expected, sources = golden["stems"], self._subject.sources
        rows = [
            *figures.timeline_rows(expected, actual, sources, labels),
            figures.picture_row(expected, actual, sources, labels),
        ]
        found = separation_metrics(ReferenceProjection(expected), actual, sources=sources)
        rows += figures.separation_rows(expected, actual, found, labels)
        if parse_subject_name(self._inquiry.subject).seed is None and "true_stems" in golden:
            truth, mixture = ReferenceProjection(golden["true_stems"]), golden["audio"][0]
            before, after = (
                stem_qualities(truth, stems, mixture, sources) for stems in (expected, actual)
            )
            self._add(quality_checks(before, after, labels))
            rows += figures.quality_rows(before, after, labels)
        for kind, row in rows:
            self.collector.add_artefact(kind, row)

    def file(self) -> None:
        """Judge the package on an audio file: its loudest segment, and the stems of all of it."""
        audio = self._inquiry.audio
        if audio is None:
            return
        labels = self._labels | {"case": printable(audio)}
        self._step("PyTorch")
        loudest, expected = self._original(audio)
        self.collector.executed("torch")
        self._step("the package")
        actual = self._bench.file_stems(self._inquiry.subject, audio, self._inquiry.package)
        self.collector.executed("mil")
        self._loudest(loudest, labels)
        self._stems(expected, actual, labels)
        self._add(_against_demucs(self._subject, audio, actual, labels))

    def _original(self, audio: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the loudest segment [1, C, n] and PyTorch's stems of the whole file."""
        loudest, level = np.zeros((1, 2, SEGMENT_LENGTH), np.float32), -1.0

        def original(segment: np.ndarray) -> np.ndarray:
            nonlocal loudest, level
            if rms(segment) > level:
                loudest, level = segment.copy(), rms(segment)
            stems: np.ndarray = separate_segment(self._subject, torch.from_numpy(segment)).numpy()
            return stems

        with AudioReader(audio) as reader:
            stems = np.concatenate(list(separate_stream(reader.blocks(), original)), axis=-1)
        return loudest, stems

    def _loudest(self, audio: np.ndarray, labels: dict[str, str]) -> None:
        """Judge the network on a segment of the file, with all its taps."""
        bench, subject, package = self._bench, self._inquiry.subject, self._inquiry.package
        expected = observe_segment(self._subject, audio, taps=True)
        inputs = {"spectrogram": expected["spectrogram"], "audio": audio}
        taps = inner_taps(subject)
        located = bench.located(package, taps)
        made = predict_segment(bench.session(package).predict, inputs, located)
        predicted = None
        if self._recipe is not None and not self._recipe.is_fp32:
            run = bench.virtual_run(subject, self._recipe)
            wide = bench.located(bench.package(subject, "fp32"), taps)
            predicted = predict_segment(run, inputs, wide)
        self._segment(expected, made, predicted, taps, labels)
        again = bench.session(package).predict(inputs)
        self._add([repeat_check(made.outputs, again, labels)])

    def audible(self) -> None:
        """Keep the verdict from being green where there was nothing to be heard."""
        check = audible_check(self._expected_stems, self._labels)
        self._add([] if check is None else [check])

    def _add(self, checks: Iterable[Check]) -> None:
        for check in checks:
            if check.layer in self._inquiry.layers:
                self.collector.add_check(check)

    def _step(self, what: str) -> None:
        self._advance(what, self._done, self._steps)
        self._done += 1


def printable(path: Path) -> str:
    """Return a file's name as text that JSON can hold."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _against_demucs(
    subject: Subject, audio: Path, actual: np.ndarray, labels: Mapping[str, str]
) -> Iterable[Check]:
    """Compare with Demucs' own way through a file, which fades and pads otherwise: a diagnosis."""
    model: Any = subject.models[0]
    if len(subject.models) > 1:
        weights = [list(row) for row in subject.bag_weights]
        model = BagOfModels(list(subject.models), weights)
    mixture = torch.from_numpy(read_audio(audio))[None]
    overlap = SEGMENT_OVERLAP / SEGMENT_LENGTH
    with torch.no_grad():
        stems = apply_model(model, mixture, shifts=0, overlap=overlap)[0].numpy()
    bounds = gate("end_to_end")
    for index, stem in enumerate(subject.sources):
        outcome = compare(stems[index], actual[index], bounds)
        what = "against demucs.apply_model, a diagnosis"
        yield Check("end_to_end", {**labels, "stem": stem, "what": what}, False, bounds, outcome)
