"""Stems of one segment, and a file put together from segments, judged end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from harness.audio import SEGMENT_LENGTH, SEGMENT_OVERLAP
from harness.audio.segments import crossfade
from harness.faults.judges.program import RECIPE
from harness.faults.judging import FaultJudgement, digest, judgement
from harness.faults.registry import Fault
from harness.layers import stem_checks
from harness.profiles import PACKAGE_ENGINE
from harness.subjects import describe_subject
from harness.workbench import Workbench

Predict = Callable[[np.ndarray], np.ndarray]
FILE_CASE = "song_file"


def judge_stems(bench: Workbench, subject: str, fault: Fault) -> Iterator[FaultJudgement]:
    """Judge the stems of one segment; an injection gets those [S, 2, n] of the sound package."""
    package = bench.packages.path(subject, RECIPE)
    stems = bench.predictions.of(subject, fault.case, package, PACKAGE_ENGINE).stems
    yield from _judged(bench, subject, fault.case, fault.inject(stems.copy()))


def _judged(
    bench: Workbench, subject: str, case: str, stems: np.ndarray
) -> Iterator[FaultJudgement]:
    expected = bench.goldens.fetch(subject, case).require()["stems"]
    return map(judgement, stem_checks(expected, stems, describe_subject(subject).sources, {}))


@dataclass(frozen=True, eq=False)
class Joiner:
    """How an app takes a file apart and puts the stems together; the defaults are right.

    Attributes:
        overlap: samples that segments share.
        fades: weights of the earlier and of the later segment, [overlap] each.
        padding: what fills the last segment, as ``numpy.pad`` calls it.
        late: samples by which each later segment's stems are put down too late.
        shift: samples of silence in front of the signal, cut off again afterwards.
        normalise: whether the network gets each segment at a peak of its own.
    """

    overlap: int = SEGMENT_OVERLAP
    fades: tuple[np.ndarray, np.ndarray] = field(default_factory=lambda: crossfade(SEGMENT_OVERLAP))
    padding: Literal["reflect", "constant", "edge"] = "reflect"
    late: int = 0
    shift: int = 0
    normalise: bool = False

    def __call__(self, audio: np.ndarray, predict: Predict) -> np.ndarray:
        """Return the stems [S, 2, n] of ``audio`` [2, n]."""
        audio = np.pad(audio, ((0, 0), (self.shift, 0)))
        length, stride = audio.shape[1], SEGMENT_LENGTH - self.overlap
        starts = range(0, max(1, length - self.overlap), stride)
        padded = np.pad(
            audio, ((0, 0), (0, starts[-1] + SEGMENT_LENGTH - length)), mode=self.padding
        )
        result: np.ndarray | None = None
        for start in starts:
            part = padded[:, start : start + SEGMENT_LENGTH]
            peak = np.float32(np.abs(part).max()) if self.normalise else np.float32(1)
            stems = predict(np.ascontiguousarray(part / peak)[np.newaxis])
            if result is None:
                result = np.zeros((stems.shape[0], 2, padded.shape[1] + self.late), np.float32)
                result[..., :SEGMENT_LENGTH] = stems
                continue
            place = start + self.late
            faded = stems.copy()
            faded[..., : self.overlap] *= self.fades[1]
            result[..., place : place + self.overlap] *= self.fades[0]
            result[..., place + self.overlap : place + SEGMENT_LENGTH] = 0
            result[..., place : place + SEGMENT_LENGTH] += faded
        assert result is not None
        return result[..., self.shift : length]


class JoinerJudge:
    """Injections get a `Joiner` and return another; predictions of equal segments are shared."""

    def __init__(self, bench: Workbench, subject: str) -> None:
        self._bench, self._subject = bench, subject
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, fault: Fault) -> Iterator[FaultJudgement]:
        """Judge the stems that are put together for a file."""
        joiner: Joiner = fault.inject(Joiner())
        audio = self._bench.goldens.fetch(self._subject, FILE_CASE).require()["audio"][0]
        stems = joiner(audio, self._predict)
        yield from _judged(self._bench, self._subject, FILE_CASE, stems)

    def _predict(self, audio: np.ndarray) -> np.ndarray:
        key = digest(audio)
        if key not in self._known:
            package = self._bench.packages.path(self._subject, RECIPE)
            separator = self._bench.predictions.separator(self._subject, package, PACKAGE_ENGINE)
            self._known[key] = separator(audio)
        return self._known[key]
