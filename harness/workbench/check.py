"""A package judged against its model: what ``parity check`` does.

It asks of one package what a run asks, by the same functions (`harness.layers`): its papers, its
branches and taps, what its precision allows, its stems and their quality. Every gate that the
recipe claims is gating; a recipe that claims nothing (an exploratory one, or a stranger's) is held
to all of them, because whoever asks for a verdict on a package wants one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from harness.adapters import AdaptedModel
from harness.captures import Capture
from harness.conversion import (
    Audit,
    PrecisionRecipe,
    audit_package,
    read_sidecar,
    shipped_recipes,
)
from harness.errors import PackageError, ParityError, UnknownNameError
from harness.golden.builder import network_inputs, observe_segment
from harness.layers import (
    Tensors,
    branch_checks,
    first_failing,
    lint_check,
    precision_checks,
    program_check,
    quality_checks,
    repeat_check,
    stem_checks,
)
from harness.lint import lint_package
from harness.mil import call, load
from harness.mil.opsets import OPSETS
from harness.mil.package import Package, open_package
from harness.profiles import (
    DEFAULT,
    PACKAGE_ENGINE,
    STEM_LAYERS,
    SUBJECT_ENGINE,
    engine_states,
)
from harness.structure import ProgramComparison, compare_programs
from harness.subjects import Subject
from harness.subjects.calls import first_call
from harness.subjects.protocol import sound_of
from harness.verdicts import Check, Gate, Profile, Verdict
from harness.verdicts.collector import Collector, noted_digest
from harness.verdicts.rows.packages import Explanation, Step
from harness.verdicts.rows.signals import Quality
from harness.workbench import pictures
from harness.workbench.adapting import (
    ROUNDED,
    adapted,
    allowed,
    check_recipe_of_stranger,
    declared_recipe,
    stranger_checks,
    stranger_rows,
    to_be_shown,
)
from harness.workbench.bench import Workbench
from harness.workbench.file_checks import (
    Listening,
    against_library,
    original_stems,
    printable,
)
from harness.workbench.music import Music
from harness.workbench.on_devices import Question, device_rows
from harness.workbench.operations import tap_series
from harness.workbench.papers import describe_package, paper_checks, with_papers
from harness.workbench.predictions import Prediction, predict_segment, taps_in
from harness.workbench.separator import Separator, check_way, separate_file

LAYERS: Final = ("conversion", "end_to_end")
UNKNOWN: Final = PrecisionRecipe("unknown", "fp16", gating=True)
"""Of a package that says nothing of itself: it is held to every gate, and nothing is predicted."""

NEWEST: Final = OPSETS["CoreML8"]
"""What a fresh conversion is made for at most: programs are compared in the words of one opset."""
MOST_DIFFERENCES: Final = 50
DEVICE_STEPS: Final = 20
"""Of a prediction on a device, beside the one step of its case: it takes about so much longer."""

Advance = Callable[[str, int, int], None]
"""Called with what comes next, the number of steps done, and of all steps."""


@dataclass(frozen=True)
class Inquiry:
    """What is asked of a package.

    Attributes:
        package: the ``.mlpackage``.
        subject: name of the single model that it should equal.
        cases: golden cases.
        recipe: the precision that it should have; None takes the one that it records.
        audio: an audio file, compared with PyTorch on the same segments.
        like: whose way to go through the file, of `harness.workbench.separator.LIKE`.
        layers: of `LAYERS`.
        bounds: by the name of a gate, what must hold in its place.
        devices: profiles on which each golden case is predicted, beside the verdict.
        placement: over which units of the devices' machines operations are split.
        capture: what the only device made of the only case.
    """

    package: Path
    subject: str
    cases: tuple[str, ...]
    recipe: PrecisionRecipe | None = None
    audio: Path | None = None
    like: str | None = None
    layers: tuple[str, ...] = LAYERS
    bounds: Mapping[str, Gate] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    placement: str = ""
    capture: Capture | None = None


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
    with noted_digest(examination.collector, inquiry.package):
        if examination.papers():
            examination.cases()
            examination.file()
    return examination.collector


class _Examination:
    """One package on its way through the layers."""

    def __init__(self, bench: Workbench, inquiry: Inquiry, advance: Advance) -> None:
        self._bench, self._inquiry, self._advance = bench, inquiry, advance
        known = bench.goldens.cases
        self._cases = () if inquiry.audio else inquiry.cases
        for case in self._cases:
            if case not in known:
                raise UnknownNameError("golden case", case, known)
        self._subject: Subject = bench.goldens.subject(inquiry.subject)
        self._layers = tuple(
            layer for layer in inquiry.layers if self._subject.sources or layer not in STEM_LAYERS
        )
        if not self._layers:
            raise ParityError(f"{inquiry.subject} has no stems, so nothing of it is end to end")
        check_way(inquiry.like, self._subject.network)
        if inquiry.audio is not None:
            sound_of(self._subject.network)  # before anything takes time
            if not inquiry.audio.is_file():
                raise ParityError(f"{inquiry.audio} is no file; name an audio file with --audio")
        self._model = load(inquiry.package)
        self._view = adapted(self._model, self._subject.network)
        if self._view is not None:
            self._leave_out_unseen(self._view)
            if inquiry.recipe is not None:
                check_recipe_of_stranger(inquiry.package, inquiry.recipe, inquiry.subject)
        self._recipe = inquiry.recipe or self._recorded()
        recipe = self._recipe or UNKNOWN
        self._claims = replace(recipe, gating=True, gates=recipe.gates if recipe.gating else ())
        self._labels = {
            "subject": inquiry.subject,
            "recipe": recipe.name,
            **bench.predictions.labels(PACKAGE_ENGINE),
        }
        profile = Profile(
            name="check",
            layers=self._layers,
            engines=DEFAULT.engines if inquiry.audio else (PACKAGE_ENGINE,),
            subjects=(inquiry.subject,),
            recipes=(recipe.name,),
            cases={inquiry.subject: self._cases},
            narrowed=tuple(self._narrowed()),
        )
        self.collector = Collector(profile, engine_states())
        segments = sum(not known[case].is_file for case in self._cases)
        self._steps = 1 + (2 if inquiry.audio else len(self._cases))
        self._steps += DEVICE_STEPS * len(inquiry.devices) * segments
        self._done = 0

    @property
    def _shows_blocks(self) -> bool:
        """Whether some signal shows the values behind the network's blocks."""
        goldens, subject = self._bench.goldens, self._inquiry.subject
        return bool(self._inquiry.audio) or any(goldens.taps(subject, c) for c in self._cases)

    def _narrowed(self) -> Iterator[str]:
        """Yield what of a whole check was not asked for, in words."""
        if set(self._inquiry.layers) != {*LAYERS}:
            yield f"layer {' and '.join(self._inquiry.layers)}"
        known = self._view is None and bool(self._subject.network.interface.inner_taps)
        if known and "conversion" in self._layers and not self._shows_blocks:
            yield "outputs, since none of its cases has values behind blocks"

    def _recorded(self) -> PrecisionRecipe | None:
        """Return the recipe that the package says it was made by.

        A package may call itself what it likes, but it excuses itself from no gate.
        """
        sidecar = read_sidecar(self._model)
        if sidecar is None:
            return None if self._view is None else declared_recipe(self._model)
        recorded = sidecar.recipe
        shipped = shipped_recipes().get(recorded.name)
        if shipped not in (None, recorded):
            raise PackageError(
                f"{self._inquiry.package} holds a recipe {recorded.name!r} that is not the one of "
                "this name: convert again, or say with --recipe what it was made by"
            )
        return shipped or replace(recorded, gates=())

    def _leave_out_unseen(self, view: AdaptedModel) -> None:
        """Leave out what a package in an adapter doesn't show."""
        if view.adapter.gives_stems:
            return
        shown = ", ".join(view.adapter.shows)
        if self._inquiry.audio is not None:
            raise ParityError(f"the package shows {shown} and no stems: judge it on a --case")
        self._layers = tuple(layer for layer in self._layers if layer not in STEM_LAYERS)
        if not self._layers:
            raise ParityError(f"the package shows {shown}, so nothing of it is end to end")

    def papers(self) -> bool:
        """Judge what the package declares and holds; False if it can't be executed as it is."""
        self._step("the program")
        self.collector.keep(pictures.outline_of(self._inquiry.subject))
        labels = {name: self._labels[name] for name in ("subject", "recipe")}
        if self._view is not None:
            self.collector.keep(*stranger_rows(self._view, self._recipe, self._inquiry.subject))
            self._add(stranger_checks(self._view, self._recipe, labels))
            return True
        if "conversion" not in self._layers:  # the first of them says whether it can be executed
            contract = next(paper_checks(self._model, self._subject, None, labels))
            if contract.verdict is not Verdict.PASS:  # a run that says nothing of it helps nobody
                self.collector.checks.append(replace(contract, layer=self._layers[-1]))
            return contract.verdict is Verdict.PASS
        program, audit = None, None
        if self._recipe is not None:
            release = OPSETS.get(self._model.plan.function.opset, NEWEST).release
            target = f"iOS{min(release, NEWEST.release)}"
            made = self._bench.packages.path(self._inquiry.subject, self._recipe, target)
            fresh = open_package(made)
            program = compare_programs(fresh, self._model)
            audit = self._audit(fresh, program, self._recipe)
        checks = list(paper_checks(self._model, self._subject, audit, labels))
        sidecar = read_sidecar(self._model)
        findings = lint_package(self._model, modules=sidecar.modules if sidecar else None)
        self._add([*checks, program_check(program, labels), lint_check(findings, labels)])
        return first_failing(c for c in checks if c.gate and c.gate.name == "contract") is None

    def _audit(self, fresh: Package, program: ProgramComparison, recipe: PrecisionRecipe) -> Audit:
        """Return the precision of the package, and take over what a fresh conversion knows."""
        same = program.verdict == "pass"
        if same or read_sidecar(self._model) is None:
            papers = read_sidecar(fresh)
            assert papers is not None  # our own conversion writes them
            self._model = with_papers(self._model, papers, program.names)
        # The same program has the same precision, whatever its values are called: a recipe that
        # names operations can only be held against those that still have their names.
        audit = audit_package(fresh if same else self._model, recipe)
        audit = replace(audit, package=self._inquiry.package)
        row = describe_package(self._inquiry.subject, audit, recipe)
        self.collector.keep(row)
        if program.differences:
            self.collector.keep(in_words(program))
        return audit

    def cases(self) -> None:
        """Judge the package on every golden case."""
        for case in self._cases:
            self._step(case)
            self.collector.add_golden(self._bench.goldens.state(self._inquiry.subject, case))
            self._case(case, self._labels | {"case": case})

    def _case(self, case: str, labels: dict[str, str]) -> None:
        bench, subject = self._bench, self._inquiry.subject
        golden = bench.goldens.fetch(subject, case).require()
        if bench.goldens.cases[case].is_file:
            blocks = iter([golden["audio"][0]])
            stems = np.concatenate(
                list(Separator([self], self._subject.network).stream(blocks)), axis=-1
            )
        else:
            taps, inputs = bench.goldens.taps(subject, case), bench.goldens.inputs(subject, case)
            made = self._segment(golden, inputs, self._promised(inputs, taps, case), taps, labels)
            stems = made.stems if made.has_stems else None
            self._on_devices(golden, first_call(inputs), labels)
        self.collector.executed(PACKAGE_ENGINE)
        if stems is None:
            return
        self._stems(golden["stems"], stems, labels)
        if bench.goldens.cases[case].kind == "song" and "end_to_end" in self._layers:
            self._music(bench.music(subject, case), stems, labels)

    def _on_devices(
        self, golden: Tensors, inputs: Mapping[str, np.ndarray], labels: dict[str, str]
    ) -> None:
        """Predict the case on the devices that are asked for; a capture alone gates."""
        if self._inquiry.devices and self._view is not None:
            raise ParityError(
                f"{self._inquiry.package} stands in an adapter, and devices are predicted on a "
                "package of the network's own inputs and outputs; leave --device out"
            )
        asked = self._inquiry
        question = Question(self._model, self._subject.network, golden, inputs, labels)
        for device in asked.devices:
            rows = device_rows(
                question,
                device,
                placement=asked.placement,
                capture=asked.capture,
                advance=partial(self._part, device),
            )
            for row in rows:
                if isinstance(row, Check):
                    self._add([row])
                else:
                    self.collector.keep(row)
            self._done += DEVICE_STEPS

    def _promised(
        self, inputs: Mapping[str, np.ndarray], taps: tuple[str, ...], case: str = ""
    ) -> Prediction | None:
        """Return what the precision allows, by a virtual run; None in FP32, or if nobody says."""
        bench, subject, recipe = self._bench, self._inquiry.subject, self._claims
        if self._recipe is None or (recipe.is_fp32 and not self._rounded):
            return None
        if self._view is not None:
            run = partial(bench.virtual.on, subject, recipe, taps=())
            return allowed(self._view, run, inputs)
        if case:
            return bench.virtual.of(subject, case, recipe)
        return bench.virtual.on(subject, recipe, inputs, taps)

    @property
    def _rounded(self) -> bool:
        """Whether the package takes or returns FP16, whatever it computes in."""
        view = self._view
        return view is not None and (bool(view.half_inputs) or view.half_outputs)

    def _segment(
        self,
        expected: Tensors,
        inputs: Mapping[str, np.ndarray],
        predicted: Prediction | None,
        taps: tuple[str, ...],
        labels: dict[str, str],
    ) -> Prediction:
        """Judge the network on one segment, the layer conversion, and return what it made."""
        shown, limit, view = None, self._claims, self._view
        if view is not None:  # its operations have other names, so nothing inside is known
            taps, shown = (), view.adapter.shows
            expected = to_be_shown(view, self._subject, expected, inputs)
            limit = ROUNDED if self._rounded else limit
        located = taps_in(read_sidecar(self._model), taps)
        run = partial(predict_segment, self._subject.network, self.predict, inputs, located, shown)
        made = run()
        bounds, outputs = self._bounds("conversion"), tuple(made.outputs)
        pair = expected, made.tensors
        self._add(branch_checks(*pair, self._claims, labels, outputs=outputs, bounds=bounds))
        promised = predicted.tensors if predicted else None
        taps = made.judged(taps) if predicted is None else predicted.judged(made.judged(taps))
        self._add(precision_checks(*pair, promised, limit, taps, labels, outputs=outputs))
        if taps or view is not None or not self._shows_blocks:  # signals that show much
            # With the same taps: what is kept decides which memory is reused, and so in which order
            # a mean adds up.
            self._add([repeat_check(made.outputs, run().outputs, labels)])
            if made.taps:
                self.collector.keep(tap_series(expected, made, labels))
            self.collector.keep(*pictures.count_rows(expected, made, labels))
        return made

    def _bounds(self, name: str) -> Gate | None:
        asked = self._inquiry.bounds.get(name)
        return asked or self._bench.goldens.bounds(self._inquiry.subject, name)

    def _stems(self, expected: np.ndarray, actual: np.ndarray, labels: dict[str, str]) -> None:
        """Judge stems [S, C, n]: the layer end_to_end."""
        gating = self._claims.must_pass("end_to_end")
        bounds = self._bounds("end_to_end")
        sources, rate = self._subject.sources, self._subject.geometry.sample_rate
        self._add(
            stem_checks(expected, actual, sources, labels, gating=gating, bounds=bounds, rate=rate)
        )

    def _music(self, music: Music, actual: np.ndarray, labels: dict[str, str]) -> None:
        """Judge the quality of a song's stems, and keep what the page draws of them."""
        expected, sources, rate = music.golden["stems"], music.sources, music.rate
        found = music.errors(actual)
        self.collector.keep(
            *pictures.timeline_rows(expected, actual, sources, labels, rate=rate),
            pictures.picture_row(expected, actual, sources, labels, rate=rate),
            *pictures.separation_rows(expected, actual, found, labels, rate=rate),
        )
        if self._subject.network.trained and "true_stems" in music.golden:
            before, after = music.quality, music.quality_of(actual)
            self._add(quality_checks(before, after, labels))
            self.collector.keep(*pictures.rows_beside(Quality, before, after, labels))
            self.collector.keep(*music.score_rows(actual, labels))

    def file(self) -> None:
        """Judge the package on an audio file: its loudest segment, and the stems of all of it."""
        audio = self._inquiry.audio
        if audio is None:
            return
        labels = self._labels | {"case": printable(audio)}
        self._step("PyTorch")
        expected = original_stems(self._subject, audio, self._inquiry.like)
        self.collector.executed(SUBJECT_ENGINE)
        self._step("the package")
        separator = Listening([self], self._subject.network)
        actual = separate_file(audio, separator, self._inquiry.like)
        self.collector.executed(PACKAGE_ENGINE)
        self._loudest(separator.loudest, labels)
        self._stems(expected, actual, labels)
        if self._inquiry.like is None:
            self._add(against_library(self._subject, audio, actual, labels))

    def _loudest(self, audio: np.ndarray, labels: dict[str, str]) -> None:
        """Judge the network on a segment of the file, with all its taps."""
        expected = observe_segment(self._subject, audio, taps=True)
        network = self._subject.network
        derived = {name: expected[name] for name in network.derived}
        inputs = network_inputs(network, audio) | derived
        taps = network.interface.inner_taps
        self._segment(expected, inputs, self._promised(inputs, taps), taps, labels)

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Execute the package once, as a session does."""
        numerics = self._bench.predictions.numerics
        if self._view is not None:
            return self._view.predict(inputs, taps=taps, numerics=numerics)
        return call(self._model, inputs, taps=taps, numerics=numerics)

    def _add(self, checks: Iterable[Check]) -> None:
        self.collector.checks += [check for check in checks if check.layer in self._layers]

    def _step(self, what: str) -> None:
        self._advance(what, self._done, self._steps)
        self._done += 1

    def _part(self, what: str, done: int, total: int) -> None:
        self._advance(what, self._done + DEVICE_STEPS * done // total, self._steps)


def in_words(program: ProgramComparison) -> Explanation:
    """Return what differs in a program, for the page."""
    shown = tuple(str(difference) for difference in program.differences[:MOST_DIFFERENCES])
    left = len(program.differences) - len(shown)
    more = (f"and {left} more",) if left else ()
    question = "What is another in the program than in a fresh conversion?"
    return Explanation((Step(question, f"{program.reason}.", (*shown, *more)),), ())
