"""Synthesised multitrack music: songs with six known stems, made from a seed.

``make_song(seed, duration_s) -> Song`` gives float32 stems [6, 2, n] (drums, bass, other, vocals,
guitar, piano) and their mixture. The songs have tempo, meter, key, chord progressions, sections and
several instruments for each stem, with overlapping spectra: golden cases and the training data of a
small model, without anybody's recordings.

An instrument is added by one decorator or one table row: see ``players.instrument``.
"""

from __future__ import annotations

from harness.subjects.songs import bass, drums, guitar, other, piano, vocals  # noqa: F401
from harness.subjects.songs.arrangement import STEMS
from harness.subjects.songs.players import instruments
from harness.subjects.songs.song import Song, make_song

__all__ = ["STEMS", "Song", "instruments", "make_song"]
