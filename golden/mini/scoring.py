"""How well a network separates songs that it has not heard: SI-SDR over the mixture's.

SI-SDR = 10 log10(|a s|^2 / |a s - e|^2) with a = <e, s> / <s, s>, over both channels together, in
float64, with no mean removed and no epsilon. Source: Le Roux, Wisdom, Erdogan and Hershey, "SDR:
half-baked or well done?", ICASSP 2019, equation 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from harness.subjects.songs import STEMS

TARGET_MEAN_DB: Final = 6.0
TARGET_STEM_DB: Final = 2.0


def si_sdr_db(expected: Tensor, actual: Tensor) -> Tensor:
    """SI-SDR in dB over the last two dimensions [..., 2, n], float64 [...]."""
    reference, estimate = expected.double().flatten(-2), actual.double().flatten(-2)
    scale = (reference * estimate).sum(-1) / (reference**2).sum(-1)
    target = scale[..., None] * reference
    return 10 * torch.log10((target**2).sum(-1) / ((target - estimate) ** 2).sum(-1))


@dataclass(frozen=True)
class Scores:
    """SI-SDR of the estimates and its improvement over the mixture, in dB, float64 [songs, 6]."""

    si_sdr: Tensor
    improvement: Tensor

    @property
    def mean_improvement_db(self) -> float:
        """Mean over all songs and stems."""
        return float(self.improvement.mean())

    @property
    def reaches_target(self) -> bool:
        """Whether the mean and each stem's mean improve by enough."""
        stems = self.improvement.mean(dim=0)
        return self.mean_improvement_db >= TARGET_MEAN_DB and bool((stems >= TARGET_STEM_DB).all())

    def by_song(self, seeds: Sequence[int]) -> dict[str, dict[str, float]]:
        """Improvement of each song and stem, rounded to 0.01 dB, ready for JSON."""
        return {
            str(seed): {
                stem: round(gain, 2) for stem, gain in zip(STEMS, row.tolist(), strict=True)
            }
            for seed, row in zip(seeds, self.improvement, strict=True)
        }

    def as_dict(self) -> dict[str, object]:
        """Means by stem, rounded to 0.01 dB, ready for JSON."""

        def by_stem(values: Tensor) -> dict[str, float]:
            means = values.mean(dim=0).tolist()
            return {stem: round(mean, 2) for stem, mean in zip(STEMS, means, strict=True)}

        return {
            "songs": len(self.si_sdr),
            "si_sdr_db": by_stem(self.si_sdr),
            "si_sdr_improvement_db": by_stem(self.improvement),
            "mean_si_sdr_improvement_db": round(self.mean_improvement_db, 2),
            "reaches_target": self.reaches_target,
        }


@torch.no_grad()
def score(model: nn.Module, songs: Sequence[Tensor], device: torch.device) -> Scores:
    """Separate whole songs, float32 [6, 2, n] each, one by one, without autocast.

    Args:
        model: an HTDemucs in evaluation mode on ``device``.
    """
    rows: list[tuple[Tensor, Tensor]] = []
    for stems in songs:
        expected = stems.to(device)
        mixture = expected.double().sum(dim=0).float()
        estimate = model(mixture[None])[0]
        before = si_sdr_db(expected, mixture.expand_as(expected))
        after = si_sdr_db(expected, estimate)
        rows.append((after.cpu(), (after - before).cpu()))
    return Scores(torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows]))
