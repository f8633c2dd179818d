"""What the command line and the front door ask for unless somebody says otherwise."""

from __future__ import annotations

from typing import Final

EXTREMES: Final = ("song", "hot", "quiet", "silence")
"""Cases by default: music; noise driven into clipping and noise at -60 dBFS, where what overflows
and what vanishes shows; and silence, out of which nothing may come."""
