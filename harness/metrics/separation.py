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

import numpy as np
import numpy.typing as npt

from harness.metrics._arrays import real_pair
from harness.metrics._decomposition import Parts, decomposed, measurable
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


@dataclass(frozen=True)
class SourceMetrics:
    """One source by bss_eval_sources, in dB; None where ``reason`` says why not."""

    source: str
    sdr_db: float | None = None
    sir_db: float | None = None
    sar_db: float | None = None
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
    todo = measurable(references, estimates, sources, filter_length)
    results = [
        SeparationMetrics(name, reason=why)
        for name, why in zip(todo.names, todo.reasons, strict=True)
    ]
    for parts in decomposed(todo):
        results[parts.place] = _measure(todo.names[parts.place], parts)
    return tuple(results)


def source_metrics(
    references: npt.ArrayLike | ReferenceProjection,
    estimates: npt.ArrayLike,
    *,
    sources: Sequence[str] | None = None,
    filter_length: int = FILTER_LENGTH,
) -> tuple[SourceMetrics, ...]:
    """The SDR, SIR and SAR of bss_eval_sources [1]_ of every source.

    Here a filtering of the source by 512 taps is no error: the target is ``s + e_spat``.
    Wrong gain, polarity, delay and equalisation are forgiven. On one channel the numbers are
    mir_eval's; on several they are those of museval, whose filters lead from channel to channel.

    Arguments, order and errors are those of :func:`separation_metrics`.
    """
    todo = measurable(references, estimates, sources, filter_length)
    results = [
        SourceMetrics(name, reason=why) for name, why in zip(todo.names, todo.reasons, strict=True)
    ]
    for parts in decomposed(todo):
        target = energy(parts.source + parts.spatial)
        if is_silent(parts.estimate_rms):
            reason = "the estimate is silent: it has no target"
            results[parts.place] = SourceMetrics(todo.names[parts.place], reason=reason)
            continue
        results[parts.place] = SourceMetrics(
            todo.names[parts.place],
            sdr_db=ratio_db(target, energy(parts.error - parts.spatial)),
            sir_db=ratio_db(target, energy(parts.joint - parts.spatial)),
            sar_db=ratio_db(energy(parts.source + parts.joint), energy(parts.error - parts.joint)),
        )
    return tuple(results)


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


def _measure(name: str, of: Parts) -> SeparationMetrics:
    """The ratios, from the parts of one source."""
    interference, artifacts = of.joint - of.spatial, of.error - of.joint
    source_energy = energy(of.source)
    parts = [energy(of.spatial), energy(interference), energy(artifacts)]
    shares = [part / sum(parts) for part in parts] if sum(parts) else [None] * 3
    estimate_silent = is_silent(of.estimate_rms)
    return SeparationMetrics(
        source=name,
        sdr_db=ratio_db(source_energy, energy(of.error)),
        isr_db=ratio_db(source_energy, parts[0]),
        sir_db=None if estimate_silent else ratio_db(energy(of.source + of.spatial), parts[1]),
        sar_db=None if estimate_silent else ratio_db(energy(of.source + of.joint), parts[2]),
        gain=1 + float(np.sum(of.error * of.source)) / source_energy,
        spatial_share=shares[0],
        interference_share=shares[1],
        artifact_share=shares[2],
        reason="the estimate is silent: SIR and SAR have nothing to relate to"
        if estimate_silent
        else None,
    )
