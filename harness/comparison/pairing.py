"""Which item of one side belongs to which of the other.

By name, where both have it, or where one name has all words of the other: 01_drums.wav and
drums_est.flac claim to be drums. What remains among audio files is paired by content: the greatest
normalised cross-correlation, at any lag, over the whole assignment
(`scipy.optimize.linear_sum_assignment`). A stem that a port named otherwise is found that way; two
that were exchanged are not, since their names say who they claim to be: `judging` finds those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soxr
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import linear_sum_assignment

from harness.comparison.inputs import Audio, Item

_LONGEST_S: Final = 20.0
_RATE: Final = 11_025
"""Enough to tell one stem from another, and a quarter of the work."""
_LOUDEST: Final = 1e30
"""What float32 holds, and the sums of a filter; beyond it, signs are enough to tell stems apart."""
_ALIKE: Final = 0.25
"""Stems of one song reach 0.1 with each other; a stem through a codec 0.9 with itself."""


@dataclass(frozen=True)
class Pair:
    """Two items that are compared.

    Attributes:
        name: of the reference, or of the candidate where there is no reference.
        expected, actual: None where one side has nothing.
        note: how they were brought together, if not by name.
    """

    name: str
    expected: Item | None
    actual: Item | None
    note: str = ""


def pair_up(expected: Mapping[str, Item], actual: Mapping[str, Item]) -> tuple[Pair, ...]:
    """Return the pairs of two sides, sorted by name.

    One item on each side belongs to the other, whatever it is called.
    """
    if len(expected) == len(actual) == 1:
        (name, one), (other_name, other) = *expected.items(), *actual.items()
        different = PurePosixPath(name).stem != PurePosixPath(other_name).stem
        return (Pair(name, one, other, f"with {other_name}" if different else ""),)
    pairs = [Pair(name, expected[name], actual[name]) for name in expected if name in actual]
    left = {name: item for name, item in expected.items() if name not in actual}
    right = {name: item for name, item in actual.items() if name not in expected}
    for rule in (_same_stem, _same_words, _same_content):
        for name, other_name, note in rule(left, right):
            pairs.append(Pair(name, left.pop(name), right.pop(other_name), note))
    pairs += [Pair(name, item, None) for name, item in left.items()]
    pairs += [Pair(name, None, item) for name, item in right.items()]
    return tuple(sorted(pairs, key=lambda pair: pair.name))


Matches = list[tuple[str, str, str]]


def _same_stem(left: Mapping[str, Item], right: Mapping[str, Item]) -> Matches:
    """Match audio files whose names differ in the suffix alone: drums.wav and drums.flac."""
    found = []
    for name in _audio(left):
        same = [other for other in _audio(right) if _bare(other) == _bare(name)]
        rivals = [other for other in _audio(left) if _bare(other) == _bare(name)]
        if len(same) == len(rivals) == 1:
            found.append((name, same[0], f"with {same[0]}"))
    return found


def _same_words(left: Mapping[str, Item], right: Mapping[str, Item]) -> Matches:
    """Match an audio file with the one that has all words of its name, and of no other as many."""
    claims: dict[str, list[str]] = {}
    for other in _audio(right):
        contained = {
            name: words for name in _audio(left) if (words := _words(name)) <= _words(other)
        }
        most = max(map(len, contained.values()), default=0)
        claimed = [name for name, words in contained.items() if len(words) == most > 0]
        if len(claimed) == 1:
            claims.setdefault(claimed[0], []).append(other)
    return [
        (name, others[0], f"with {others[0]}, by name")
        for name, others in claims.items()
        if len(others) == 1
    ]


def _same_content(left: Mapping[str, Item], right: Mapping[str, Item]) -> Matches:
    ours, theirs = _audio(left), _audio(right)
    if not ours or not theirs:
        return []
    alike = np.zeros((len(ours), len(theirs)))
    others = [_fingerprint(right[name]) for name in theirs]
    for row, name in enumerate(ours):
        mine = _fingerprint(left[name])
        alike[row] = [_alike(mine, other) for other in others]
    found = []
    for row, column in zip(*linear_sum_assignment(-alike), strict=True):
        likeness = float(alike[row, column])
        if likeness >= _ALIKE:
            how = f"with {theirs[column]}, by content (correlation {likeness:.2f})"
            found.append((ours[row], theirs[column], how))
    return found


def _audio(side: Mapping[str, Item]) -> list[str]:
    return [name for name, item in side.items() if isinstance(item, Audio)]


def _bare(name: str) -> str:
    path = PurePosixPath(name)
    return (path.parent / path.stem).as_posix().lower()


def _words(name: str) -> frozenset[str]:
    """Return the words of a name: of 01_drumsEst.wav they are drums and est."""
    found = re.findall("[A-Z]*[a-z]+|[A-Z]+", PurePosixPath(name).stem)
    return frozenset(word.lower() for word in found)


def _fingerprint(item: Item) -> npt.NDArray[np.float64]:
    """Return the middle of a signal at a low rate, [channels, n]."""
    if not isinstance(item, Audio):
        return np.zeros((1, 1))
    longest = int(_LONGEST_S * item.rate)
    start = max(0, (item.frames - longest) // 2)
    samples = np.nan_to_num(item.read(start, start + longest), posinf=0.0, neginf=0.0)
    bounded = np.clip(samples.T, -_LOUDEST, _LOUDEST).astype(np.float32)
    low = soxr.resample(bounded, item.rate, _RATE, quality="LQ")
    return np.atleast_2d(np.asarray(low, dtype=np.float64).reshape(-1, item.channels).T)


def _alike(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """Return the greatest normalised cross-correlation; its sign does not matter."""
    if one.shape[0] != other.shape[0]:
        one, other = one.mean(axis=0, keepdims=True), other.mean(axis=0, keepdims=True)
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    if norm == 0:
        return 0.0
    size = next_fast_len(one.shape[1] + other.shape[1], real=True)
    spectrum = np.sum(rfft(one, size) * np.conj(rfft(other, size)), axis=0)
    return float(np.abs(irfft(spectrum, size)).max()) / norm
