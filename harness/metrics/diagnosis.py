"""What a source's separation metrics say, in words.

The table goes from the specific to the general; the first row that applies is the answer. It looks
at the shares of the error's energy, not at the ratios themselves: 90 dB of pure gain error is a
gain error all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.metrics.separation import SeparationMetrics

_DOMINANT: Final = 0.9
_NOTABLE: Final = 0.3
_NOTHING_TO_EXPLAIN_DB: Final = 100.0


@dataclass(frozen=True)
class _Facts:
    gain: float
    spatial: float
    interference: float
    artifacts: float
    gain_share: float  # of the spatial error: how much of it a wrong gain alone explains
    estimate_silent: bool


_TABLE: Final[tuple[tuple[Callable[[_Facts], bool], str], ...]] = (
    (lambda f: f.estimate_silent, "the stem is lost: the estimate is silent"),
    (
        lambda f: f.gain < 0 and f.spatial > _DOMINANT,
        "ISR low, SAR high: the polarity is inverted (gain {gain:.4g})",
    ),
    (
        lambda f: abs(f.gain) < _NOTABLE and f.interference > _NOTABLE,
        "SIR low, nothing left of the source (gain {gain:.2g}): another stem stands in its place",
    ),
    (
        lambda f: f.spatial > _DOMINANT and f.gain_share > _DOMINANT,
        "ISR low, SAR high: the gain is wrong ({gain:.6g} instead of 1)",
    ),
    (
        lambda f: f.spatial > _DOMINANT,
        "ISR low, SAR high: a filter, delay or channel error, explained by the source itself",
    ),
    (
        lambda f: f.interference > _DOMINANT,
        "SIR low, SAR high: leakage, explained by the other stems",
    ),
    (
        lambda f: f.artifacts > _DOMINANT,
        "SAR low: noise, rounding or distortion that no filtering of the stems explains",
    ),
)
_MIXED: Final = (
    "no single cause: {spatial:.0%} filter or gain, {interference:.0%} leakage,"
    " {artifacts:.0%} noise or distortion"
)


def diagnose(metrics: SeparationMetrics) -> str:
    """One sentence on the kind of error: no verdict, and no word about whether it is small enough.

    Empty where the whole error is more than 100 dB under the stem: that is how float32 arithmetic
    differs from itself, and its parts are no news.

    Args:
        metrics: of one source.
    """
    if metrics.sdr_db is None:
        return f"not computed: {metrics.reason}"
    if metrics.sdr_db == math.inf:
        return "exact: the estimate equals the reference"
    if metrics.sdr_db > _NOTHING_TO_EXPLAIN_DB:
        return ""
    facts = _facts(metrics)
    words = next((words for applies, words in _TABLE if applies(facts)), _MIXED)
    return words.format(**vars(facts))


def _facts(metrics: SeparationMetrics) -> _Facts:
    """The numbers that the table reads; what was not computed counts as 0."""
    gain, isr_db = metrics.gain or 0.0, metrics.isr_db or 0.0
    # A wrong gain g alone has an error energy of (g - 1)^2 |s|^2.
    gain_share = (gain - 1) ** 2 * 10 ** (isr_db / 10) if math.isfinite(isr_db) else 0.0
    return _Facts(
        gain=gain,
        spatial=metrics.spatial_share or 0.0,
        interference=metrics.interference_share or 0.0,
        artifacts=metrics.artifact_share or 0.0,
        gain_share=gain_share,
        estimate_silent=metrics.sir_db is None,
    )
