"""The book of the pack ``ops``: single operations of neural networks, forward and backward."""

from __future__ import annotations

from typing import Final

from harness.packs.problems import Book

OPS: Final = Book("ops", layer="ops")
