"""Numbers in words: a reader takes them for what they say, units and digits included."""

from __future__ import annotations

import math

import pytest

from harness.report import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.inf, "exact"),
        (-math.inf, "\N{MINUS SIGN}∞ dB"),
        (math.nan, "not a number"),
        (None, "\N{EN DASH}"),
        (-0.04, "0.0 dB"),
        (-12.34, "\N{MINUS SIGN}12.3 dB"),
        (61.25, "61.2 dB"),
    ],
)
def test_decibels_in_words(value: float | None, text: str) -> None:
    assert units.db(value).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, units.NOT_COMPUTED), (0.0004, "< 1 ms"),
     (0.9996, "1.0 s"), (0.031, "31 ms"), (59.96, "1 min 00 s"),
     (512.4, "8 min 32 s"), (3599.6, "1 h 00 min"), (7384.0, "2 h 03 min"), (None, "\N{EN DASH}")],
)  # fmt: skip
def test_durations_in_words(value: float | None, text: str) -> None:
    assert units.seconds(value).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (198_204_416, "198 MB"),
     (6_300_000, "6.3 MB"), (None, "\N{EN DASH}")],
)  # fmt: skip
def test_sizes_in_words(value: float | None, text: str) -> None:
    assert units.size(value).replace("\N{NO-BREAK SPACE}", " ") == text


def test_thousands_stand_apart() -> None:
    assert units.count(1_234_567) == "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"
