"""The book of the pack ``dsp``: signal processing around a network, forward only."""

from __future__ import annotations

from typing import Final

from harness.packs.problems import Book

DSP: Final = Book("dsp", layer="stft")
