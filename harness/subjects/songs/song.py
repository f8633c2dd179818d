"""A song: six synthesised stems from a seed.

``make_song(seed, duration_s)`` gives float32 stems [6, 2, n] in the order drums, bass, other,
vocals, guitar, piano, at the contract's sample rate. The same seed and duration give the same bits
on one machine; another platform's mathematical library may move the last bit before the rounding
to float32.

The plan, each stem's part, each stem's channel strip and the mix bus have random generators of
their own (children of one ``SeedSequence``), so a change to one instrument leaves the other stems
as they were, but for the common gain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np

from harness.audio.contract import SAMPLE_RATE
from harness.errors import ParityError
from harness.subjects.songs.arrangement import STEMS, Plan, draw_plan
from harness.subjects.songs.effects import StripStyle, bus_gain, draw_room, strip
from harness.subjects.songs.players import Instrument, draw_instrument

SHORTEST_S: Final = 1.0
LONGEST_S: Final = 300.0

_STYLES: Final = MappingProxyType(
    {
        "drums": StripStyle(-16.0, 0.1, 0.0, (0.03, 0.15), 0.5),
        "bass": StripStyle(-17.0, 0.08, 0.0, (0.0, 0.03), 0.7),
        "other": StripStyle(-19.0, 0.4, 0.006, (0.1, 0.4), 0.3),
        "vocals": StripStyle(-17.0, 0.15, 0.002, (0.05, 0.35), 0.8),
        "guitar": StripStyle(-19.0, 0.6, 0.006, (0.03, 0.3), 0.5),
        "piano": StripStyle(-19.0, 0.5, 0.003, (0.05, 0.3), 0.4),
    }
)


@dataclass(frozen=True)
class Song:
    """A generated song.

    Attributes:
        seed: what it was made from.
        stems: float32 [6, 2, n], full scale 1, read-only.
        sources: the names of the stems, in order.
        description: tempo, key, form and instruments, ready for JSON.
    """

    seed: int
    stems: np.ndarray = field(repr=False)
    sources: tuple[str, ...]
    description: dict[str, object]

    @property
    def mixture(self) -> np.ndarray:
        """The stems' sum: added in float64, rounded once to float32, [2, n]."""
        return np.asarray(self.stems.sum(axis=0, dtype=np.float64).astype(np.float32))


def make_song(seed: int, duration_s: float = 7.8) -> Song:
    """Make a song; n = round(duration_s * SAMPLE_RATE) samples, DC-free stems.

    The mixture's peak lies between -3 and -1 dBFS. In a song of at least 7.8 s no stem is silent.

    Args:
        seed: a non-negative integer.
        duration_s: seconds, 1 to 300.

    Raises:
        ParityError: an argument is out of range.
    """
    _validate(seed, duration_s)
    streams = np.random.SeedSequence(seed).spawn(2 + 2 * len(STEMS))
    generators = [np.random.Generator(np.random.PCG64(stream)) for stream in streams]
    plan = draw_plan(generators[0], round(duration_s * SAMPLE_RATE))
    mix_rng = generators[1]
    response = draw_room(mix_rng).response(mix_rng)
    played: dict[str, Instrument] = {}
    stems = np.empty((len(STEMS), 2, plan.length))
    for index, stem in enumerate(STEMS):
        part_rng, strip_rng = generators[2 + 2 * index : 4 + 2 * index]
        choosing, playing = part_rng.spawn(2)
        played[stem] = draw_instrument(stem, choosing)
        dry = played[stem].play(plan, playing)
        stems[index] = strip(dry, _STYLES[stem], response, strip_rng)
    stems = _mixed(stems, mix_rng).astype(np.float32)
    stems.flags.writeable = False
    return Song(seed, stems, STEMS, _describe(plan, played))


def _mixed(stems: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The stems after the mix bus, with the mixture's peak between -3 and -1 dBFS."""
    stems *= bus_gain(stems.sum(axis=0), rng)
    peak = np.abs(stems.sum(axis=0)).max()
    return np.asarray(stems * (10 ** (rng.uniform(-3.0, -1.0) / 20) / peak))


def _describe(plan: Plan, played: dict[str, Instrument]) -> dict[str, object]:
    sections = {bar.section: None for bar in plan.bars}
    numerals: dict[str, list[str]] = {}
    for bar in plan.bars:
        row = numerals.setdefault(bar.section.kind, [])
        row.extend(chord.numeral for chord in bar.chords)
    return {
        "tempo_bpm": round(plan.tempo_bpm, 2),
        "meter": plan.meter.name,
        "key": plan.key.name,
        "swing": round(plan.swing, 3),
        "progression": {kind: " ".join(row) for kind, row in numerals.items()},
        "sections": [
            {
                "kind": section.kind,
                "bars": section.bar_count,
                "silent": [stem for stem in STEMS if stem in section.silent],
            }
            for section in sections
        ],
        "instruments": {stem: row.name for stem, row in played.items()},
    }


def _validate(seed: int, duration_s: float) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ParityError(f"song seed {seed!r}: expected a non-negative integer")
    if not SHORTEST_S <= duration_s <= LONGEST_S:
        raise ParityError(
            f"song duration {duration_s!r} s: expected {SHORTEST_S:g} to {LONGEST_S:g} s"
        )
