"""Where subjects, goldens, packages and engines meet.

Suites and commands ask a `Workbench` for what they compare; it makes each thing once and keeps no
more than it must: packages on disk, the tensors of a few cases in memory. Files under ``scratch``
are shared by parallel test processes, each made by the first that asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.conversion import (
    Audit,
    PrecisionRecipe,
    TapLocation,
    TracedModel,
    convert_to_coreml,
    load_recipe,
    read_sidecar,
    trace_inner_model,
)
from harness.engines import Candidate, Session, open_engine
from harness.golden import Fetched, GoldenStatus, GoldenStore
from harness.golden.builder import observe_segment
from harness.layers import BRANCHES
from harness.locks import file_lock
from harness.mil import Model, load
from harness.precision.virtual import VirtualPrecision
from harness.profiles import DEFAULT
from harness.subjects import (
    Subject,
    describe_subject,
    extract_inner_model,
    load_subject,
    tap_names,
)
from harness.verdicts import LOCAL_GOLDEN, GoldenState
from harness.workbench.separator import Separator, separate_file, stems_of


def inner_taps(subject: str) -> tuple[str, ...]:
    """Return the names of a subject's taps but the outputs, without making any weights."""
    model = describe_subject(subject).empty_model()
    return tuple(name for name in tap_names(model) if name not in BRANCHES)


@dataclass(frozen=True)
class Prediction:
    """What an engine made of one segment.

    Attributes:
        outputs: ``freq`` [1, S, 4, bins, frames] and ``time`` [1, S, 2, n], float32.
        taps: intermediate values by tap name, in PyTorch's layout, where they were asked for.
        precisions: the declared precision of the value behind each tap, where it is known.
        stems: [S, 2, n] float32: inverse STFT of ``freq`` plus ``time``.
    """

    outputs: Mapping[str, np.ndarray]
    stems: np.ndarray
    taps: Mapping[str, np.ndarray] = field(default_factory=dict)
    precisions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def tensors(self) -> Mapping[str, np.ndarray]:
        """All of it by the names that goldens have."""
        taps = {f"tap.{name}": value for name, value in self.taps.items()}
        return {**self.outputs, **taps, "stems": self.stems}


def predict_segment(
    run: Callable[..., Mapping[str, np.ndarray]],
    inputs: Mapping[str, np.ndarray],
    located: Mapping[str, TapLocation],
) -> Prediction:
    """Let a program work on one segment, and return its taps in PyTorch's layout.

    Args:
        run: called as ``run(inputs, taps=names)``, as a `Model` or a session predicts.
        inputs: ``spectrogram`` and ``audio``.
        located: where each tap that is wanted is in the program.
    """
    wanted = tuple(dict.fromkeys(location.output for location in located.values()))
    values = run(inputs, taps=wanted)
    outputs = {name: values[name] for name in BRANCHES}
    made = {name: values[location.output] for name, location in located.items()}
    precisions = {name: f"fp{8 * value.dtype.itemsize}" for name, value in made.items()}
    taps = {name: located[name].in_torch_layout(value) for name, value in made.items()}
    return Prediction(outputs, stems_of(outputs), taps, precisions)


class Workbench:
    """Makes each subject, package and prediction once.

    Args:
        golden_root: the folder with ``recipes.toml`` and ``manifest.json``.
        scratch: a folder for packages.
        numerics: how the executor computes.
    """

    def __init__(self, golden_root: Path, scratch: Path, *, numerics: str = "storage") -> None:
        self.goldens: GoldenStore[Subject] = GoldenStore(golden_root)
        self.numerics = numerics
        self._scratch = scratch
        # Bounded caches: tests come ordered by subject, case and recipe, so a few places suffice.
        self.subject = lru_cache(maxsize=2)(load_subject)
        self.golden = lru_cache(maxsize=4)(self._golden)
        self.package = lru_cache(maxsize=None)(self._package)
        self.trace = lru_cache(maxsize=1)(self._trace)
        self.session = lru_cache(maxsize=3)(self._session)
        self.original = lru_cache(maxsize=2)(self._original)
        self.extracted = lru_cache(maxsize=1)(self._extracted)
        self.prediction = lru_cache(maxsize=1)(self._prediction)
        self.lab = lru_cache(maxsize=1)(self._lab)
        self.virtual = lru_cache(maxsize=1)(self._virtual)
        self.file_stems = lru_cache(maxsize=1)(self._file_stems)

    def _golden(self, subject: str, case: str) -> Fetched:
        return self.goldens.fetch(self.subject(subject), case)

    def golden_state(self, subject: str, case: str) -> GoldenState:
        """Return what was found of a golden, as a run records it."""
        fetched = self.golden(subject, case)
        finding = fetched.finding
        status = finding.run_status
        if status == GoldenStatus.UNRECORDED.value and subject not in DEFAULT.subjects:
            status = LOCAL_GOLDEN  # nobody can commit fingerprints of somebody else's weights
        digest = fetched.golden.record.sha256 if fetched.golden else ""
        return GoldenState(subject, case, status, finding.message, digest)

    def _package(self, subject: str, recipe: str | PrecisionRecipe, target: str = "iOS18") -> Path:
        """Return the package of a subject and a recipe, converted by the first that asks."""
        loaded, rules = self.subject(subject), _recipe(recipe)
        rules_hash = hashlib.sha256(rules.to_toml().encode()).hexdigest()[:8]
        name = f"{loaded.fingerprint[:16]}-{rules.name}-{rules_hash}-{target}.mlpackage"
        out = self._scratch / name
        self._scratch.mkdir(parents=True, exist_ok=True)
        with file_lock(self._scratch / "lock"):
            if not out.exists():
                convert_to_coreml(
                    self.trace(subject),
                    recipe=rules,
                    target=target,
                    out=out,
                    subject=subject,
                    fingerprint=loaded.fingerprint,
                )
        return out

    def _trace(self, subject: str) -> TracedModel:
        return trace_inner_model(extract_inner_model(self.subject(subject).model))

    def _session(self, package: Path) -> Session:
        return open_engine("mil", Candidate(package=package), numerics=self.numerics)

    def inputs(self, subject: str, case: str) -> dict[str, np.ndarray]:
        """Return a golden's inputs of the network."""
        golden = self.golden(subject, case).require()
        return {"spectrogram": golden["spectrogram"], "audio": golden["audio"]}

    def _original(self, subject: str, case: str) -> Mapping[str, np.ndarray]:
        """Execute the original on a golden's signal, in this process; tensors by golden name."""
        audio = self.golden(subject, case).require()["audio"]
        return observe_segment(self.subject(subject), audio, taps=self.goldens.cases[case].taps)

    def inputs_here(self, subject: str, case: str) -> dict[str, np.ndarray]:
        """Return the network's inputs as the original made them in this process."""
        return {
            "spectrogram": self.original(subject, case)["spectrogram"],
            "audio": self.golden(subject, case).require()["audio"],
        }

    def _extracted(self, subject: str, case: str) -> Prediction:
        """Execute the extracted network in PyTorch on what the original had in this process."""
        session = open_engine("torch", Candidate(subject=self.subject(subject)))
        located = {tap: TapLocation(tap) for tap in self.taps_of(subject, case)}
        return predict_segment(session.predict, self.inputs_here(subject, case), located)

    def _prediction(self, subject: str, case: str, package: Path) -> Prediction:
        """Execute a package on a golden's inputs, with taps where the golden has them."""
        return self._predict(subject, case, package, self.session(package).predict)

    def _lab(self, subject: str) -> VirtualPrecision:
        return VirtualPrecision(load(self.package(subject, "fp32")))

    def virtual_run(
        self, subject: str, recipe: str | PrecisionRecipe
    ) -> Callable[..., Mapping[str, np.ndarray]]:
        """Return what executes a recipe without its package: on the FP32 one, virtually."""
        model = self.lab(subject).recipe_model(_recipe(recipe))
        return partial(model.predict, numerics=self.numerics)

    def _virtual(self, subject: str, case: str, recipe: str | PrecisionRecipe) -> Prediction:
        """Execute a recipe virtually on a golden's inputs."""
        run = self.virtual_run(subject, recipe)
        return self._predict(subject, case, self.package(subject, "fp32"), run)

    def _predict(
        self, subject: str, case: str, package: Path, run: Callable[..., Mapping[str, np.ndarray]]
    ) -> Prediction:
        """Let ``run`` work on a golden's inputs, with the taps that ``package`` locates."""
        located = self.taps_in(package, subject, case)
        return predict_segment(run, self.inputs(subject, case), located)

    def taps_of(self, subject: str, case: str) -> tuple[str, ...]:
        """Return the names of the inner values that the golden of a case holds."""
        return inner_taps(subject) if self.goldens.cases[case].taps else ()

    def taps_in(self, package: Path | Model, subject: str, case: str) -> Mapping[str, TapLocation]:
        """Return where a package has them, as far as it says so."""
        return self.located(package, self.taps_of(subject, case))

    @staticmethod
    def located(package: Path | Model, taps: Iterable[str]) -> Mapping[str, TapLocation]:
        """Return where a package has taps, as far as it says so."""
        sidecar = read_sidecar(package)
        found = sidecar.taps.found if sidecar else {}
        return {name: found[name] for name in taps if name in found}

    def separator(self, subject: str, package: Path) -> Separator:
        """Return what separates audio through a package of a single-model subject."""
        outline = describe_subject(subject)
        ones = [1.0] * len(outline.sources)
        return Separator([self.session(package)], [ones], outline.geometry)

    def _file_stems(self, subject: str, audio: Path, package: Path) -> np.ndarray:
        """Separate an audio file with a package, as ``parity separate`` does; stems [S, 2, n]."""
        return separate_file(audio, self.separator(subject, package))


def _recipe(recipe: str | PrecisionRecipe) -> PrecisionRecipe:
    return recipe if isinstance(recipe, PrecisionRecipe) else load_recipe(recipe)


def describe_package(subject: str, audit: Audit, recipe: PrecisionRecipe) -> dict[str, Any]:
    """Return the precision map of a package as the report draws it; plain JSON data."""
    files = [file for file in audit.package.rglob("*") if file.is_file()]
    counts = {}
    for kind, found in audit.precision_map.items():
        known = {name: found.get(name, 0) for name in ("fp16", "fp32")}
        counts[kind] = known | {"other": sum(found.values()) - sum(known.values())}
    return {
        "subject": subject,
        "recipe": recipe.name,
        "gating": recipe.gating,
        "source": recipe.source,
        "counts": counts,
        "rules": [
            {
                "rule": ", ".join(count.rule.patterns),
                "precision": count.rule.decision,
                "matched": count.matched,
                "optional": count.rule.optional,
            }
            for count in audit.rules
        ],
        "size_bytes": sum(file.stat().st_size for file in files),
        "operations": sum(sum(found.values()) for found in audit.precision_map.values()),
        "audit": {
            "verdict": audit.verdict,
            "reason": audit.reason,
            "differences": [str(difference) for difference in audit.differences[:50]],
        },
    }
