"""What all candidates of one song are held against, made once for them.

Separation metrics project a candidate on the references. To factorise those takes longer than all
that is then asked of a candidate, and what the original reaches is the same beside each of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.layers import Tensors, stem_scores
from harness.metrics import ReferenceProjection, SeparationMetrics, separation_metrics
from harness.verdicts.rows.scores import Scores, StemScores
from harness.verdicts.rows.signals import StemQuality
from harness.workbench.pictures import rows_beside, stem_qualities

Stems = npt.NDArray[np.floating[Any]]


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
        return stem_qualities(self._truth, actual, self.golden["audio"][0], self.sources)

    @cached_property
    def _scores(self) -> tuple[StemScores, ...]:
        return stem_scores(self._truth, self.golden["stems"], self.sources, self.rate)

    def score_rows(self, actual: Stems, labels: Mapping[str, str]) -> Iterator[Scores]:
        """Yield for each stem the published scores of the original and of a candidate."""
        found = stem_scores(self._truth, actual, self.sources, self.rate)
        return rows_beside(Scores, self._scores, found, labels)
