"""What one process of clean runs does.

It is started by `harness.faults.clean` with the environment that PyTorch has to find when it is
imported: its code path and its threads can't be changed later. Each run is a fresh input, evaluated
by the gates of four layers on a sound package:

- ``stft``: our transform against Demucs' own, and a port of it in NumPy against ours;
- ``surgery``: outputs, stems and every tap of the extracted network against the original;
- ``conversion``: both outputs of the package under both gates, and every tap;
- ``end_to_end``: every stem, each channel, and the worst second.

The original is executed in the same process. The input that every environment shares is judged
once more by a golden that another process stored (``golden_here``, and the last two layers): what
is asked is whether the gates are wide enough for any machine, whichever made the goldens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch

from harness.audio import SAMPLE_RATE, SEGMENT_LENGTH
from harness.audio.stft import spectrogram_from_waveform
from harness.conversion import TapLocation, load_recipe, tap_operations
from harness.engines import open_engine
from harness.faults.judges.transform import Port
from harness.golden.builder import observe_segment
from harness.layers import (
    branch_checks,
    golden_checks,
    precision_checks,
    stem_checks,
    surgery_checks,
    transform_check,
)
from harness.profiles import PACKAGE_ENGINE, SUBJECT_ENGINE
from harness.subjects import load_subject
from harness.subjects.signals import make_signal
from harness.subjects.songs import make_song
from harness.verdicts import Check, Verdict, sortable
from harness.workbench import Prediction, predict_segment

_FP32: Final = load_recipe("fp32")
_SIGNALS: Final = ("noise", "quiet", "hot", "antiphase")


@dataclass(frozen=True)
class Environment:
    """How a process is started.

    Attributes:
        name: short and unique.
        threads: number of PyTorch's threads.
        variables: environment variables.
    """

    name: str
    threads: int
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CleanRun:
    """One evaluation of something sound.

    Attributes:
        environment: name of the process's environment.
        input: what it was run on; the seed is in it.
        checks: number of checks.
        alarms: identities of the checks that failed, with the reason: none, or the gates are wrong.
        headroom_db: the smallest by layer; ``inf`` where everything was exact.
        closest: identity of the check with the smallest.
        digest: of the package's outputs, to see where the environment changes bits.
        facts: PyTorch's code path and threads, as it says itself.
    """

    environment: str
    input: str
    checks: int
    alarms: tuple[str, ...]
    headroom_db: Mapping[str, float]
    closest: str
    digest: str
    facts: Mapping[str, str]


def input_name(seed: int) -> str:
    """Return what an input is: songs, and signals in turn, with their seeds."""
    kind = "song" if seed % 2 == 0 else _SIGNALS[seed // 2 % len(_SIGNALS)]
    return f"{kind} {seed}"


def make_input(seed: int) -> np.ndarray:
    """Return the audio [1, 2, n] of an input."""
    kind = input_name(seed).split()[0]
    if kind == "song":
        song = make_song(seed, SEGMENT_LENGTH / SAMPLE_RATE)
        return np.array(song.mixture[np.newaxis])
    return make_signal(kind, SEGMENT_LENGTH, seed=seed)[np.newaxis]


@dataclass(frozen=True)
class Order:
    """What a process is told.

    Attributes:
        environment: that it is started in.
        subject: name of the model.
        package: its FP32 package, with a sidecar.
        stored: what `observe_segment` returned in another process, by seed.
    """

    environment: Environment
    subject: str
    package: Path
    stored: Mapping[int, Mapping[str, np.ndarray]]


class Evaluator:
    """A subject and a sound package of it, in a process that is theirs."""

    def __init__(self, order: Order) -> None:
        torch.set_num_threads(order.environment.threads)
        self._subject = load_subject(order.subject)
        self._environment, self._stored = order.environment.name, order.stored
        found = tap_operations(order.package)
        taps = self._subject.network.interface.inner_taps
        self._located = {tap: found[tap] for tap in taps}
        self._inner = {tap: TapLocation(tap) for tap in self._located}
        self._extracted = open_engine(SUBJECT_ENGINE, self._subject)
        self._package = open_engine(PACKAGE_ENGINE, order.package)

    def __call__(self, seed: int) -> CleanRun:
        """Evaluate every check on the input of a seed."""
        audio = make_input(seed)
        here = observe_segment(self._subject, audio, taps=True)
        inputs = {"spectrogram": here["spectrogram"], "audio": audio}
        network = self._subject.network
        extracted = predict_segment(network, self._extracted.predict, inputs, self._inner)
        made = predict_segment(network, self._package.predict, inputs, self._located)
        taps = tuple(self._located)
        checks = [
            *_stft(audio, here["spectrogram"]),
            *surgery_checks(here, extracted.tensors, taps, {}, outputs=extracted.results),
            *self._package_checks(here, made, {}),
        ]
        if seed in self._stored:
            golden, labels = self._stored[seed], {"case": "golden of another process"}
            inputs = {"spectrogram": golden["spectrogram"], "audio": audio}
            again = predict_segment(network, self._package.predict, inputs, self._located)
            checks += golden_checks(golden, here, labels)
            checks += self._package_checks(golden, again, labels)
        return _summary(self._environment, input_name(seed), checks, _digest(made.outputs))

    def _package_checks(
        self, golden: Mapping[str, np.ndarray], made: Prediction, labels: Mapping[str, str]
    ) -> Iterator[Check]:
        """Judge what the package made: the layers conversion and end_to_end."""
        taps, outputs, pair = tuple(self._located), tuple(made.outputs), (golden, made.tensors)
        yield from branch_checks(*pair, _FP32, labels, outputs=outputs)
        yield from precision_checks(*pair, None, _FP32, taps, labels, outputs=outputs)
        yield from stem_checks(golden["stems"], made.stems, self._subject.sources, labels)


def _stft(audio: np.ndarray, spectrogram: np.ndarray) -> Iterator[Check]:
    ours = spectrogram_from_waveform(torch.from_numpy(audio)).numpy()
    yield transform_check(spectrogram, ours, {"tensor": "spectrogram"})
    yield transform_check(ours, Port().forward(audio), {"tensor": "spectrogram of a port"})


def _summary(environment: str, input: str, checks: list[Check], digest: str) -> CleanRun:
    smallest: dict[str, float] = {}
    nearest = {check.id: sortable(check.outcome.headroom_db) for check in checks}
    for check in checks:
        smallest[check.layer] = min(nearest[check.id], smallest.get(check.layer, float("inf")))
    failed = [check for check in checks if check.verdict is not Verdict.PASS]
    facts = {
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }
    return CleanRun(
        environment=environment,
        input=input,
        checks=len(checks),
        alarms=tuple(f"{check.id}: {check.outcome.reason}" for check in failed),
        headroom_db=smallest,
        closest=min(nearest, key=lambda name: nearest[name]),
        digest=digest,
        facts=facts,
    )


def _digest(made: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for value in made.values():
        digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()[:16]
