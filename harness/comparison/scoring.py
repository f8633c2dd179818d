"""The scores that separation is published with, of the stems among what is compared.

A set of stems is a tensor ``stems`` [S, C, n], or all audio files of a comparison together. Scores
are told beside the verdict and never part of it, as they forgive what a conversion must not do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.audio.contract import SAMPLE_RATE
from harness.comparison.inputs import Audio, Tensor
from harness.comparison.kinds import kind_of
from harness.comparison.pairing import Pair
from harness.errors import ParityError
from harness.layers import stem_scores
from harness.metrics import ReferenceProjection
from harness.verdicts.rows.scores import Scores

FEWEST: Final = 2
"""Stems of a set: of one alone, what other stems leaked into it can't be told."""

Array = npt.NDArray[Any]
Names = Callable[[int], Sequence[str]]


def published_scores(pairs: Sequence[Pair], names: Names) -> tuple[Scores, ...]:
    """Score every set of stems in a comparison.

    Args:
        pairs: what is compared.
        names: of the stems of a tensor, by their number; none where it doesn't know.

    Raises:
        ParityError: there is no set of stems, or one whose sides don't fit together.
    """
    rows = [row for pair in pairs for row in _of_tensor(pair, names)]
    files = [pair for pair in pairs if isinstance(pair.expected or pair.actual, Audio)]
    if files:
        rows += _of_files(files)
    if not rows:
        raise ParityError(
            "scores need a set of stems, and none is compared: give two folders of audio files, "
            "or files with a tensor called stems [stems, channels, samples]"
        )
    return tuple(rows)


def _of_tensor(pair: Pair, names: Names) -> Iterator[Scores]:
    one, other = pair.expected, pair.actual
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return
    if kind_of(pair.name).form != "stems":
        return
    expected, actual = one.load(), other.load()
    if expected.ndim != 3:
        raise ParityError(
            f"{pair.name} has shape {list(expected.shape)}, expected [stems, channels, samples] to "
            "be scored"
        )
    known = list(names(len(expected))) or [f"stem {place + 1}" for place in range(len(expected))]
    yield from _scored(pair.name, expected, actual, known, SAMPLE_RATE)


def _of_files(pairs: Sequence[Pair]) -> Iterator[Scores]:
    sides: list[tuple[Audio, Audio]] = []
    for pair in pairs:
        if not isinstance(pair.expected, Audio) or not isinstance(pair.actual, Audio):
            raise ParityError(f"{pair.name} has no counterpart, so the stems can't be scored")
        sides.append((pair.expected, pair.actual))
    shapes = {(file.rate, file.channels, file.frames) for side in sides for file in side}
    if len(shapes) > 1:
        kinds = "; ".join(f"{rate} Hz, {c} channels, {n} samples" for rate, c, n in sorted(shapes))
        raise ParityError(f"stems of one rate and length can be scored, these differ: {kinds}")
    expected = np.stack([file.read() for file, _ in sides])
    actual = np.stack([file.read() for _, file in sides])
    names = [PurePosixPath(pair.name).stem for pair in pairs]
    yield from _scored("", expected, actual, names, sides[0][0].rate)


def _scored(
    case: str, expected: Array, actual: Array, names: Sequence[str], rate: int
) -> Iterator[Scores]:
    if len(expected) < FEWEST:
        raise ParityError(
            f"scores need at least {FEWEST} stems of one song, this is {len(expected)}: what leaks "
            "from others can't be told from one"
        )
    references = ReferenceProjection(expected)
    for row in stem_scores(references, actual, names, rate):
        yield Scores("", case, "", "", "", expected=None, actual=row)
