"""What a run keeps of the scores that separation is published with: numbers that gate nothing."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import RunError
from harness.verdicts.jsondata import Finite
from harness.verdicts.rows.labelled import Labelled


@dataclass(frozen=True)
class StemScores:
    """One stem's scores against its reference; None where one can't be had.

    Attributes:
        stem: name of the source.
        sdr_db, isr_db, sir_db, sar_db: medians over seconds, as museval gives them.
        source_sdr_db, source_sir_db, source_sar_db: of bss_eval_sources.
        distance_db: the log-spectral distance.
        delay_samples: of the estimate.
        gain: of the estimate at that delay; negative where the polarity is inverted.
        null_db: of the sum of all stems of the set, the same for each of them.
        octaves: edges in Hz, and the SNR between them.
        note: why something is missing.
    """

    stem: str
    sdr_db: float | None = None
    isr_db: float | None = None
    sir_db: float | None = None
    sar_db: float | None = None
    source_sdr_db: float | None = None
    source_sir_db: float | None = None
    source_sar_db: float | None = None
    distance_db: float | None = None
    delay_samples: float | None = None
    gain: float | None = None
    null_db: float | None = None
    octaves: tuple[tuple[Finite, Finite, float | None], ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Scores(Labelled):
    """A stem's scores: the candidate's, and PyTorch's where both are held against the truth."""

    expected: StemScores | None
    actual: StemScores

    def __post_init__(self) -> None:
        if self.expected is not None and self.expected.stem != self.actual.stem:
            raise RunError(f"scores of {self.expected.stem} stand beside {self.actual.stem}'s")

    @property
    def stem(self) -> str:
        """Name of the source."""
        return self.actual.stem
