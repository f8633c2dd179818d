"""Bugs of taking a file apart and putting its stems together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from harness.faults.judges.stems import Joiner
from harness.faults.registry import CLASSIC, CONVERSIONS, fault

_joiner = partial(fault, on="joiner", caught_by="end_to_end")


@_joiner("segments.weights-over-one", source=CONVERSIONS, sample=True)
def _weights_over_one(joiner: Joiner) -> Joiner:
    """An equal-power fade: cosine and sine, whose sum reaches 1.41 in the middle."""
    angle = np.linspace(0, np.pi / 2, joiner.overlap, dtype=np.float32)
    return replace(joiner, fades=(np.cos(angle), np.sin(angle)))


@_joiner("segments.weights-under-one", source=CONVERSIONS)
def _weights_under_one(joiner: Joiner) -> Joiner:
    """A triangle over the overlap fades in, and its mirror out, each a half too low at one end."""
    ramp = np.linspace(0, 1, joiner.overlap, dtype=np.float32)
    return replace(joiner, fades=(1 - ramp, ramp * ramp))


@_joiner("segments.fades-exchanged", source=CLASSIC)
def _fades_exchanged(joiner: Joiner) -> Joiner:
    """The earlier segment fades in and the later one out."""
    return replace(joiner, fades=joiner.fades[::-1])


@_joiner("segments.no-crossfade", source=CLASSIC)
def _no_crossfade(joiner: Joiner) -> Joiner:
    """Overlapping stems are added without weights."""
    ones = np.ones(joiner.overlap, np.float32)
    return replace(joiner, fades=(ones, ones))


@_joiner("segments.overlap-off-by-one", source=CONVERSIONS, sample=True)
def _overlap_off_by_one(joiner: Joiner) -> Joiner:
    """Each later segment is put down one sample too late."""
    return replace(joiner, late=1)


@_joiner("segments.padded-with-zeros", source=CONVERSIONS)
def _padded_with_zeros(joiner: Joiner) -> Joiner:
    """The last segment is filled up with zeros instead of a reflection."""
    return replace(joiner, padding="constant")


@_joiner("segments.padded-with-last-sample", source=CLASSIC)
def _padded_with_last_sample(joiner: Joiner) -> Joiner:
    """The last segment is filled up with its last sample."""
    return replace(joiner, padding="edge")


@_joiner("segments.random-shift", source=CONVERSIONS)
def _random_shift(joiner: Joiner) -> Joiner:
    """Demucs' shift trick is left on: the signal is moved by a random time before separation."""
    return replace(joiner, shift=int(np.random.default_rng(0).integers(1, 22_050)))


@_joiner("segments.normalised-each", source=CLASSIC)
def _normalised_each(joiner: Joiner) -> Joiner:
    """Each segment is brought to a peak of one for the network, and its stems not back."""
    return replace(joiner, normalise=True)
