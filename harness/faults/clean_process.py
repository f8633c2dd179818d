"""One process of clean runs: reads what to do from stdin, writes one JSON line for each run.

``python -m harness.faults.clean_process`` is started by `harness.faults.clean` with the environment
that PyTorch has to find when it is imported: its code path and its threads can't be changed later.
Each run is a fresh input, evaluated by the gates of four layers on a sound package:

- ``stft``: our transform against Demucs' own, and the NumPy description of it against ours;
- ``surgery``: outputs, stems and every tap of the extracted network against the original;
- ``conversion``: both outputs of the package under both gates, and every tap;
- ``end_to_end``: every stem, each channel, and the worst second.

The original is executed in the same process. The input that every environment shares is judged
once more by a golden that another process stored (``golden_here``, and the last two layers): what
is asked is whether the gates are wide enough for any machine, whichever made the goldens.
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
from safetensors.numpy import load_file

from harness.audio import (
    SAMPLE_RATE,
    SEGMENT_LENGTH,
    reference_spectrogram,
    spectrogram_from_waveform,
)
from harness.conversion import tap_operations
from harness.engines import Candidate, open_engine
from harness.golden.builder import observe_segment
from harness.subjects import Subject, load_subject
from harness.subjects.signals import make_signal
from harness.subjects.songs import make_song
from harness.verdicts import Check, Verdict, compare, gate
from harness.workbench import inner_taps, stem_checks, stems_of, tensor_label
from harness.workbench.bench import BRANCHES

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
        stored: what `observe_segment` returned in another process, by seed.
    """

    def __init__(
        self,
        subject: Subject,
        package: Path,
        environment: str,
        stored: Mapping[int, Mapping[str, np.ndarray]],
    ) -> None:
        self._subject, self._environment, self._stored = subject, environment, stored
        self._taps = inner_taps(subject.name)
        self._located = tap_operations(package)
        self._extracted = open_engine("torch", Candidate(subject=subject), numerics="storage")
        self._package = open_engine("mil", Candidate(package=package), numerics="storage")

    def run(self, seed: int) -> CleanRun:
        """Evaluate every check on the input of a seed."""
        name, audio = make_input(seed)
        here = observe_segment(self._subject, audio, taps=True)
        made = self._execute(here, audio)
        checks = [
            *_stft(audio, here["spectrogram"]),
            *self._surgery(here, audio),
            *self._package_checks(made, here, {}),
        ]
        if seed in self._stored:
            golden, labels = self._stored[seed], {"case": "golden of another process"}
            checks += [
                _check("surgery", "golden_here", tensor, golden[tensor], actual, labels)
                for tensor, actual in here.items()
            ]
            checks += self._package_checks(self._execute(golden, audio), golden, labels)
        return _summary(self._environment, name, checks, _digest(made))

    def _execute(
        self, golden: Mapping[str, np.ndarray], audio: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        """Execute the package, and return every tap in PyTorch's layout."""
        inputs = {"spectrogram": golden["spectrogram"], "audio": audio}
        wanted = tuple(dict.fromkeys(self._located[tap].output for tap in self._taps))
        made = self._package.predict(inputs, taps=wanted)
        values = {branch: made[branch] for branch in BRANCHES}
        for tap in self._taps:
            location = self._located[tap]
            value = made[location.output]
            if location.permutation is not None:
                value = np.ascontiguousarray(np.transpose(value, location.permutation))
            values[f"tap.{tap}"] = value
        return values

    def _surgery(self, here: Mapping[str, np.ndarray], audio: np.ndarray) -> Iterator[Check]:
        inputs = {"spectrogram": here["spectrogram"], "audio": audio}
        values = self._extracted.predict(inputs, taps=self._taps)
        for name in BRANCHES:
            yield _check("surgery", "surgery", name, here[name], values[name], {})
        for tap in self._taps:
            expected = here[f"tap.{tap}"]
            yield _check("surgery", "surgery", f"tap.{tap}", expected, values[tap], {})
        yield _check("surgery", "surgery", "stems", here["stems"], stems_of(values), {})

    def _package_checks(
        self,
        made: Mapping[str, np.ndarray],
        golden: Mapping[str, np.ndarray],
        labels: Mapping[str, str],
    ) -> Iterator[Check]:
        """Judge what the package made by a golden: the layers conversion and end_to_end."""
        for name, actual in made.items():
            if name in BRANCHES:
                yield _check("conversion", "conversion", name, golden[name], actual, labels)
            yield _check(
                "conversion", "expected_precision_fp32", name, golden[name], actual, labels
            )
        yield from stem_checks(golden["stems"], stems_of(made), self._subject.name, dict(labels))


def _stft(audio: np.ndarray, spectrogram: np.ndarray) -> Iterator[Check]:
    ours = spectrogram_from_waveform(torch.from_numpy(audio)).numpy()
    yield _check("stft", "stft", "spectrogram", spectrogram, ours, {})
    yield _check("stft", "stft", "packed spectrogram", ours, reference_spectrogram(audio), {})


def _check(
    layer: str,
    bounds: str,
    tensor: str,
    expected: np.ndarray,
    actual: np.ndarray,
    labels: Mapping[str, str],
) -> Check:
    outcome = compare(expected, actual, gate(bounds))
    return Check(layer, {"tensor": tensor_label(tensor), **labels}, True, gate(bounds), outcome)


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
    stored = {int(seed): load_file(path) for seed, path in order["stored"].items()}
    evaluator = Evaluator(subject, Path(order["package"]), order["environment"], stored)
    for seed in order["seeds"]:
        print(json.dumps(asdict(evaluator.run(seed))), flush=True)


if __name__ == "__main__":
    main()
