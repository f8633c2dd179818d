"""What kind of error a separated stem has: SDR, ISR, SIR, SAR and SI-SDR.

Conventions
-----------
- ``references`` and ``estimates`` are real arrays [sources, channels, n] at one sample rate; row j
  of both is source j (no permutation is searched). Everything is computed in float64.
- The framework is that of BSS-eval for images (bss_eval_images; "v4" where the filters do not vary
  in time): allowed distortions are time-invariant filters of 512 taps, on all sources together.
- A number that can't be had is None, with the reason in words; it never stops the other sources. A
  silent reference (``levels.is_silent``) has no metrics and takes no part in the others'
  interference.

Metrics
-------
With P_j the projection onto source j's filtered channels and P that onto all sources' (see
``projection``), the residual e = estimate - reference is split into

    e_spat   = P_j e         gain, polarity, delay and filter errors of the source itself
    e_interf = P e - P_j e   what other sources explain: leakage
    e_artif  = e - P e       the rest: noise, rounding, non-linear distortion

    SDR = |s|^2 / |e|^2                              source to distortion
    ISR = |s|^2 / |e_spat|^2                         source image to spatial distortion
    SIR = |s + e_spat|^2 / |e_interf|^2              source to interference
    SAR = |s + e_spat + e_interf|^2 / |e_artif|^2    sources to artifacts

Toolboxes project the estimate and subtract the reference afterwards. The projections leave the
reference alone, so both are the same in exact arithmetic; in floating point, the difference of two
nearly equal projections is lost in their rounding, while the residual's projection is exactly
proportional to the residual. So these metrics move by 20.0 dB when the error shrinks tenfold, down
to 200 dB, and are ``inf`` on identical input. A part that lies more than 120 dB under the whole
error is rounding: an SAR of 230 dB beside an ISR of 60 dB says no more than 180 dB would.

How to read them: noise that has nothing to do with the references still loses the share channels *
512 / n of its energy to e_spat, so ISR stays about 25 dB above SDR for pure noise in a 7.8 s stereo
stem. SDR equals the SNR over all channels. The rest is diagnosis and no gate: ISR is blind to
leakage, SIR and SAR are blind to a wrong gain, and so are SI-SDR and the SDR of the older
bss_eval_sources.

References
----------
.. [1] E. Vincent, R. Gribonval, C. Fevotte, "Performance measurement in blind audio source
   separation", IEEE Transactions on Audio, Speech and Language Processing 14(4), 2006.
.. [2] E. Vincent et al., "The signal separation evaluation campaign (2007-2010): achievements and
   remaining challenges", Signal Processing 92(8), 2012 (bss_eval_images, ISR).
.. [3] F.-R. Stoter, A. Liutkus, N. Ito, "The 2018 signal separation evaluation campaign", LVA/ICA
   2018 (BSS-eval v4: time-invariant filters).
.. [4] J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR - half-baked or well done?", ICASSP
   2019 (SI-SDR).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.errors import ParityError
from harness.metrics._arrays import FloatArray, real_pair
from harness.metrics.levels import energy, is_silent, ratio_db, rms
from harness.metrics.projection import FILTER_LENGTH, ReferenceProjection


@dataclass(frozen=True)
class SeparationMetrics:
    """One source's metrics. Every number is a Python float, or None where ``reason`` says why not.

    Attributes:
        source: its name.
        sdr_db: source to distortion.
        isr_db: source image to spatial distortion.
        sir_db: source to interference; None where the estimate is silent.
        sar_db: sources to artifacts; None where the estimate is silent.
        gain: the factor that brings the reference closest to the estimate: 1 for a right level, 0.5
            for half, negative for inverted polarity, 0 for silence.
        spatial_share: e_spat's share of the error's energy, 0 to 1; the three shares sum to 1. None
            without an error.
        interference_share: e_interf's share.
        artifact_share: e_artif's share.
        reason: why a metric is None; None where all are there.
    """

    source: str
    sdr_db: float | None = None
    isr_db: float | None = None
    sir_db: float | None = None
    sar_db: float | None = None
    gain: float | None = None
    spatial_share: float | None = None
    interference_share: float | None = None
    artifact_share: float | None = None
    reason: str | None = None


def separation_metrics(
    references: npt.ArrayLike | ReferenceProjection,
    estimates: npt.ArrayLike,
    *,
    sources: Sequence[str] | None = None,
    filter_length: int = FILTER_LENGTH,
) -> tuple[SeparationMetrics, ...]:
    """SDR, ISR, SIR and SAR of every source.

    Args:
        references: real [sources, channels, n], or a :class:`ReferenceProjection` of them, which is
            made once and reused for every candidate.
        estimates: real, the same shape.
        sources: their names; "0", "1", ... if not given.
        filter_length: taps of the distortion filters; a ReferenceProjection brings its own.

    Returns:
        one :class:`SeparationMetrics` for each source, in order.

    Raises:
        ParityError: if the shapes differ, an array is not real, the references are not finite, or
            there is not one name for each source.
    """
    if isinstance(references, ReferenceProjection):
        projection = references
    else:
        projection = ReferenceProjection(references, filter_length=filter_length)
    reference, estimate = real_pair(projection.references, estimates)
    count = reference.shape[0]
    names = [str(j) for j in range(count)] if sources is None else list(sources)
    if len(names) != count:
        raise ParityError(f"{len(names)} source names ({', '.join(names)}) for {count} references")

    results = [_unmeasurable(name, j, projection, estimate[j]) for j, name in enumerate(names)]
    todo = [j for j, result in enumerate(results) if result is None]
    residuals = estimate[todo].astype(np.float64) - reference[todo]
    projected = projection.project(residuals.reshape(-1, projection.length))
    channels = projection.channels
    for place, j in enumerate(todo):
        results[j] = _measure(
            names[j],
            reference[j].astype(np.float64),
            residuals[place],
            projection.project(residuals[place], source=j),
            projected[place * channels : (place + 1) * channels],
        )
    return tuple(result for result in results if result is not None)


def si_sdr_db(reference: npt.ArrayLike, estimate: npt.ArrayLike) -> float | None:
    """Scale-invariant SDR in dB [4]_ of an estimate x of s.

    The ratio |k s|^2 / |k s - x|^2 with k = <x, s> / |s|^2.

    One gain for all elements, no mean is removed. Blind to gain and polarity by design: never a
    gate. Like the others it is computed from the residual x - s, so that it does not saturate;
    ``inf`` on identical input, ``-inf`` for an estimate that holds nothing of the reference.

    Args:
        reference: real, any shape.
        estimate: real, the same shape.

    Returns:
        the ratio; None where the reference is silent; NaN where a sample is not finite.

    Raises:
        ParityError: if the shapes differ, or an array is empty or not real.
    """
    reference, estimate = real_pair(reference, estimate)
    if is_silent(rms(reference)):
        return None
    s = reference.astype(np.float64)
    with np.errstate(invalid="ignore"):
        residual = estimate.astype(np.float64) - s
        excess = float(np.sum(residual * s)) / energy(s)
        gain = 1 + excess
        if gain == 0:
            return -math.inf
        return ratio_db(gain * gain * energy(s), energy(excess * s - residual))


def _unmeasurable(
    name: str, source: int, projection: ReferenceProjection, estimate: npt.NDArray[Any]
) -> SeparationMetrics | None:
    """The empty result of a source that can't be measured, or None if it can."""
    if source not in projection.active:
        return SeparationMetrics(name, reason="the reference is silent")
    broken = int(np.count_nonzero(~np.isfinite(estimate)))
    if broken:
        return SeparationMetrics(
            name, reason=f"the estimate holds {broken} samples that are not finite"
        )
    return None


def _measure(
    name: str, reference: FloatArray, residual: FloatArray, spatial: FloatArray, joint: FloatArray
) -> SeparationMetrics:
    """The ratios from the residual [channels, n] and its longer projections."""
    padding = ((0, 0), (0, joint.shape[1] - reference.shape[1]))
    source, error = np.pad(reference, padding), np.pad(residual, padding)
    interference, artifacts = joint - spatial, error - joint
    source_energy = energy(source)
    parts = [energy(spatial), energy(interference), energy(artifacts)]
    shares = [part / sum(parts) for part in parts] if sum(parts) else [None] * 3
    estimate_silent = is_silent(rms(reference + residual))
    return SeparationMetrics(
        source=name,
        sdr_db=ratio_db(source_energy, energy(residual)),
        isr_db=ratio_db(source_energy, parts[0]),
        sir_db=None if estimate_silent else ratio_db(energy(source + spatial), parts[1]),
        sar_db=None if estimate_silent else ratio_db(energy(source + joint), parts[2]),
        gain=1 + float(np.sum(residual * reference)) / source_energy,
        spatial_share=shares[0],
        interference_share=shares[1],
        artifact_share=shares[2],
        reason="the estimate is silent: SIR and SAR have nothing to relate to"
        if estimate_silent
        else None,
    )
