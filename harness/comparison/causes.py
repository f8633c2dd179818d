"""Why two arrays differ: hypotheses, and the rule by which one of them is the cause.

A hypothesis predicts the candidate from the reference: `e(t - 3)` for "3 samples late", `-e` for
opposite polarity. The SNR of the candidate against the prediction is what would remain if the
cause were undone (of a gain, a shift or a permutation it is the very ratio that the inverse would
give; what loses something has no inverse, but has a prediction).

It *explains* the error if that SNR passes the gate and is at least `NOTABLE_DB` better than before,
or if it is at least `DECISIVE_DB` better (and `STEP_DB` more for each number fitted beyond two).
Among those that explain, each step of complexity must buy `STEP_DB`, and above `EXACT_DB` all are
equal: so a whole number of samples wins against a fraction, a fraction against a filter. If none
explains, there is no cause: nothing is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.metrics import snr_db
from harness.verdicts import Gate, Verdict, compare, gate

FloatArray = npt.NDArray[np.float64]
Region = tuple[slice | int | EllipsisType | npt.NDArray[np.intp], ...]

DECISIVE_DB: Final = 20.0
"""What explains 99 % of the error's energy is its cause, whatever remains."""
NOTABLE_DB: Final = 6.0
"""A fitted number always takes some noise with it; what takes less than three quarters of the
error's energy is no explanation, even if a gate happens to lie in between."""
STEP_DB: Final = 8.0
EXACT_DB: Final = gate("expected_precision_fp32").min_snr_db or math.inf
"""What FP32 reaches: beyond this only the order of roundings differs."""

UNEXPLAINED: Final = "no single cause explains it"

CAUSES: Final = {
    "delay": "late or early, by whole samples or a fraction of one",
    "gain": "louder or softer by a constant factor",
    "polarity": "the sign is inverted",
    "channels": "channels exchanged, copied or mixed down",
    "another stem": "it is another of the expected stems",
    "silence": "nothing is there",
    "dropout": "a part is missing",
    "band loss": "nothing is left above (or below) a frequency",
    "filter": "a linear filter, such as an equaliser or a reverberation",
    "clipping": "values beyond a level are cut off",
    "quantisation": "rounded to integers of 8 to 24 bits, to FP16 or to BF16",
    "offset": "a constant is added",
    "scale": "a spectrum is multiplied by a constant",
    "conjugate": "the sign of the imaginary parts is inverted",
    "layout": "the parts (left, right, real, imaginary) are in another order",
    "frame offset": "a spectrogram is some frames late or early",
    "sample offset": "a spectrogram is of a signal some samples late or early",
    "window": "a spectrogram was made with another window",
    "bin offset": "bins are shifted, as when the lowest is dropped instead of the highest",
    "lost bins": "some bins are zero",
    "padding": "only the frames that reach beyond the ends of the signal differ",
    "shape": "another length or order of axes, and the rest is right",
    "shift": "values moved along an axis",
    "combination": "two of these together",
}
"""Everything that a cause may be called, with its meaning."""


@dataclass(frozen=True)
class Cause:
    """What explains an error.

    Attributes:
        name: a key of `CAUSES`.
        words: what is wrong, with its number.
        snr_db: what would remain if it were undone; ``inf`` if nothing would.
    """

    name: str
    words: str
    snr_db: float

    def sentence(self) -> str:
        """Return the words and what would remain."""
        if self.snr_db == math.inf:
            return f"{self.words} (undone, nothing remains)"
        return f"{self.words} (undone, {self.snr_db:.1f} dB would remain)"


@dataclass(frozen=True)
class Hypothesis:
    """A cause that is possible.

    Attributes:
        name: a key of `CAUSES`.
        words: as a `Cause` has them.
        complexity: in steps of `STEP_DB`; 0 for what has no free number.
        predicted: what the candidate would be in `region`.
        region: where the prediction holds; an index into both arrays.
    """

    name: str
    words: str
    complexity: float
    predicted: FloatArray
    region: Region = (...,)


def select(
    hypotheses: Iterable[Hypothesis], expected: FloatArray, actual: FloatArray, gate: Gate
) -> Cause | None:
    """Return the simplest hypothesis that explains the error, None if none does.

    Args:
        hypotheses: looked at one after the other, so that only one prediction is in memory.
        expected, actual: finite, float64, of one shape.
        gate: what the candidate has broken.
    """
    best: Cause | None = None
    best_score = -math.inf
    for guess in hypotheses:
        candidate = actual[guess.region]
        if candidate.size == 0:
            continue
        before = snr_db(expected[guess.region], candidate)
        after = snr_db(guess.predicted, candidate)
        score = min(after, EXACT_DB) - STEP_DB * guess.complexity
        if score > best_score and _explains(guess, candidate, before, after, gate):
            best, best_score = Cause(guess.name, guess.words, after), score
    return best


def wanted_db(bounds: Gate) -> float:
    """Return the ratio that a gate asks for, or else what FP32 reaches."""
    return EXACT_DB if bounds.min_snr_db is None else bounds.min_snr_db


def located(cause: Cause, where: str) -> Cause:
    """Return the cause with the place that it is confined to."""
    return replace(cause, words=f"{where}: {cause.words}") if where else cause


def _explains(
    guess: Hypothesis, candidate: FloatArray, before: float, after: float, gate: Gate
) -> bool:
    if not after > before + NOTABLE_DB:
        return False
    if after >= before + DECISIVE_DB + STEP_DB * max(0.0, guess.complexity - 2):
        return True
    return compare(guess.predicted, candidate, gate).verdict is Verdict.PASS
