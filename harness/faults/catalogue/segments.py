"""Bugs of taking a file apart and putting its stems together."""

from __future__ import annotations

from functools import partial

import numpy as np

from harness.audio import SEGMENT_OVERLAP
from harness.audio.segments import crossfade
from harness.faults.registry import CLASSIC, CONVERSIONS, fault, fields

_joiner = partial(fault, judge="joiner", caught_by="end_to_end")
_ANGLE = np.linspace(0, np.pi / 2, SEGMENT_OVERLAP, dtype=np.float32)
_RAMP = np.linspace(0, 1, SEGMENT_OVERLAP, dtype=np.float32)
_ONES = np.ones(SEGMENT_OVERLAP, np.float32)
_SHIFT = int(np.random.default_rng(0).integers(1, 22_050))
"""Of up to half a second, as Demucs draws it."""

_joiner("segments.weights-over-one", source=CONVERSIONS, sample=True)(
    fields(fades=(np.cos(_ANGLE), np.sin(_ANGLE))),
    "An equal-power fade: cosine and sine, whose sum reaches 1.41 in the middle.",
)
_joiner("segments.weights-under-one", source=CONVERSIONS)(
    fields(fades=(1 - _RAMP, _RAMP * _RAMP)),
    "A triangle over the overlap fades in, and its mirror out, each a half too low at one end.",
)
_joiner("segments.fades-exchanged", source=CLASSIC)(
    fields(fades=crossfade(SEGMENT_OVERLAP)[::-1]),
    "The earlier segment fades in and the later one out.",
)
_joiner("segments.no-crossfade", source=CLASSIC)(
    fields(fades=(_ONES, _ONES)),
    "Overlapping stems are added without weights.",
)
_joiner("segments.overlap-off-by-one", source=CONVERSIONS, sample=True)(
    fields(late=1),
    "Each later segment is put down one sample too late.",
)
_joiner("segments.padded-with-zeros", source=CONVERSIONS)(
    fields(padding="constant"),
    "The last segment is filled up with zeros instead of a reflection.",
)
_joiner("segments.padded-with-last-sample", source=CLASSIC)(
    fields(padding="edge"),
    "The last segment is filled up with its last sample.",
)
_joiner("segments.random-shift", source=CONVERSIONS)(
    fields(shift=_SHIFT),
    "Demucs' shift trick is left on: the signal is moved by a random time before separation.",
)
_joiner("segments.normalised-each", source=CLASSIC)(
    fields(normalise=True),
    "Each segment is brought to a peak of one for the network, and its stems not back.",
)
