"""One process of clean runs: reads what to do from stdin, writes one JSON line for each run.

``python -m harness.faults.clean_process`` is started by `harness.faults.clean` with the environment
that PyTorch has to find when it is imported: its code path and its threads can't be changed later.
Each run is a fresh input, evaluated by the gates of four layers on a sound package:

- ``stft``: our transform against Demucs' own, and the NumPy description of it against ours;
- ``surgery``: outputs, stems and every tap of the extracted network against the original;
- ``conversion``: both outputs of the package under both gates, and every tap;
- ``end_to_end``: every stem, each channel, and the worst second.

The original is executed in the same process: what is asked is whether the gates are wide enough for
any machine that compares itself with itself.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from harness.audio import (
    SAMPLE_RATE,
    SEGMENT_LENGTH,
    reference_spectrogram,
    spectrogram_from_waveform,
)
from harness.conversion import tap_operations
from harness.engines import Candidate, open_engine
from harness.subjects import Subject, load_subject, run_original
from harness.subjects.signals import make_signal
from harness.subjects.songs import make_song
from harness.verdicts import Check, Verdict, compare, gate
from harness.workbench import inner_taps, stem_checks, stems_of

_SIGNALS: Final = ("noise", "quiet", "hot", "antiphase")


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


def make_input(seed: int) -> tuple[str, np.ndarray]:
    """Return an input's name and audio [1, 2, n]: songs, and signals in turn with their seeds."""
    if seed % 2 == 0:
        song = make_song(seed, SEGMENT_LENGTH / SAMPLE_RATE)
        return f"song {seed}", np.array(song.mixture[np.newaxis])
    kind = _SIGNALS[seed // 2 % len(_SIGNALS)]
    return f"{kind} {seed}", make_signal(kind, SEGMENT_LENGTH, seed=seed)[np.newaxis]


class Evaluator:
    """A subject and a sound package of it.

    Args:
        subject: the model.
        package: its FP32 package, with a sidecar.
        environment: name of this process's environment.
    """

    def __init__(self, subject: Subject, package: Path, environment: str) -> None:
        self._subject, self._environment = subject, environment
        self._taps = inner_taps(subject.name)
        self._located = tap_operations(package)
        self._extracted = open_engine("torch", Candidate(subject=subject), numerics="storage")
        self._package = open_engine("mil", Candidate(package=package), numerics="storage")

    def run(self, seed: int) -> CleanRun:
        """Evaluate every check on the input of a seed."""
        name, audio = make_input(seed)
        original = run_original(self._subject.models[0], torch.from_numpy(audio), taps=self._taps)
        golden = {name: tensor.numpy() for name, tensor in original.taps.items()}
        golden |= {"freq": original.freq.numpy(), "time": original.time.numpy()}
        stems, spectrogram = original.stems[0].numpy(), original.spectrogram.numpy()
        inputs = {"spectrogram": spectrogram, "audio": audio}
        wanted = tuple(dict.fromkeys(self._located[tap].output for tap in self._taps))
        made = self._package.predict(inputs, taps=wanted)
        checks = [
            *_stft(audio, spectrogram),
            *self._surgery(inputs, golden, stems),
            *self._conversion(made, golden),
            *stem_checks(stems, stems_of(made), self._subject.name, {}),
        ]
        return _summary(self._environment, name, checks, _digest(made))

    def _surgery(
        self, inputs: dict[str, np.ndarray], golden: dict[str, np.ndarray], stems: np.ndarray
    ) -> Iterator[Check]:
        values = self._extracted.predict(inputs, taps=self._taps)
        for name, expected in golden.items():
            yield _check("surgery", "surgery", name, expected, values[name])
        yield _check("surgery", "surgery", "stems", stems, stems_of(values))

    def _conversion(
        self, made: Mapping[str, np.ndarray], golden: dict[str, np.ndarray]
    ) -> Iterator[Check]:
        for name in ("freq", "time"):
            for bounds in ("conversion", "expected_precision_fp32"):
                yield _check("conversion", bounds, name, golden[name], made[name])
        for tap in self._taps:
            location = self._located[tap]
            value = made[location.output]
            if location.permutation is not None:
                value = np.ascontiguousarray(np.transpose(value, location.permutation))
            yield _check("conversion", "expected_precision_fp32", f"tap {tap}", golden[tap], value)


def _stft(audio: np.ndarray, spectrogram: np.ndarray) -> Iterator[Check]:
    ours = spectrogram_from_waveform(torch.from_numpy(audio)).numpy()
    yield _check("stft", "stft", "spectrogram", spectrogram, ours)
    yield _check("stft", "stft", "packed spectrogram", ours, reference_spectrogram(audio))


def _check(layer: str, bounds: str, tensor: str, expected: np.ndarray, actual: np.ndarray) -> Check:
    outcome = compare(expected, actual, gate(bounds))
    return Check(layer, {"tensor": tensor}, True, gate(bounds), outcome)


def _summary(environment: str, input: str, checks: list[Check], digest: str) -> CleanRun:
    smallest: dict[str, float] = {}
    nearest = {check.id: _headroom(check) for check in checks}
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


def _headroom(check: Check) -> float:
    """Return the headroom; a check that has none failed before a distance could be measured."""
    found = check.outcome.headroom_db
    return float("-inf") if found is None else found


def _digest(made: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in ("freq", "time"):
        digest.update(np.ascontiguousarray(made[name]).data)
    return digest.hexdigest()[:16]


def main() -> None:
    """Do what the document on stdin says."""
    order: dict[str, Any] = json.load(sys.stdin)
    torch.set_num_threads(order["threads"])
    subject = load_subject(order["subject"])
    evaluator = Evaluator(subject, Path(order["package"]), order["environment"])
    for seed in order["seeds"]:
        print(json.dumps(asdict(evaluator.run(seed))), flush=True)


if __name__ == "__main__":
    main()
