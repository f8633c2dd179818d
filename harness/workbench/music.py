"""What all candidates of one song are held against, made once for them.

Separation metrics project a candidate on the references. To factorise those takes longer than all
that is then asked of a candidate, and what the original reaches is the same beside each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.layers import Tensors, stem_scores
from harness.layers.end_to_end import Stems
from harness.metrics import (
    ReferenceProjection,
    SeparationMetrics,
    separation_metrics,
    si_sdr_db,
)
from harness.verdicts.rows.scores import Scores, StemScores
from harness.verdicts.rows.signals import StemQuality
from harness.workbench.pictures import rows_beside


@dataclass(frozen=True, eq=False)
class Music:
    """One song: what the original made of it, and what was really mixed where that is known.

    Attributes:
        golden: its ``stems`` [S, C, n], ``audio`` [1, C, n] and, of generated songs,
            ``true_stems``.
        sources: names of the stems.
        rate: samples per second.
    """

    golden: Tensors
    sources: tuple[str, ...]
    rate: int

    @cached_property
    def _original(self) -> ReferenceProjection:
        return ReferenceProjection(self.golden["stems"])

    @cached_property
    def _truth(self) -> ReferenceProjection:
        return ReferenceProjection(self.golden["true_stems"])

    def errors(self, actual: Stems) -> tuple[SeparationMetrics, ...]:
        """Return what kind of error each stem has beside the original's."""
        return separation_metrics(self._original, actual, sources=self.sources)

    @cached_property
    def quality(self) -> tuple[StemQuality, ...]:
        """How well the original separates."""
        return self.quality_of(self.golden["stems"])

    def quality_of(self, actual: Stems) -> tuple[StemQuality, ...]:
        """Return how well every stem is separated, beside the true ones."""
        rows = separation_metrics(self._truth, actual, sources=self.sources)
        mixture, qualities = self.golden["audio"][0], []
        for row, truth, stem in zip(rows, self._truth.references, actual, strict=True):
            si_sdr = _number(si_sdr_db(truth, stem))
            qualities.append(
                StemQuality(
                    stem=row.source,
                    si_sdr_db=si_sdr,
                    si_sdr_gain_db=si_sdr - _number(si_sdr_db(truth, mixture)),
                    sdr_db=_number(row.sdr_db),
                    isr_db=_number(row.isr_db),
                    sir_db=_number(row.sir_db),
                    sar_db=_number(row.sar_db),
                )
            )
        return tuple(qualities)

    @cached_property
    def _scores(self) -> tuple[StemScores, ...]:
        return stem_scores(self._truth, self.golden["stems"], self.sources, self.rate)

    def score_rows(self, actual: Stems, labels: Mapping[str, str]) -> Iterator[Scores]:
        """Yield for each stem the published scores of the original and of a candidate."""
        found = stem_scores(self._truth, actual, self.sources, self.rate)
        return rows_beside(Scores, self._scores, found, labels)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
