"""Proves that a converted HTDemucs still computes what PyTorch computes.

The rooms, and what each may import, are drawn in ``docs/architecture.md``.
"""

__version__ = "0.1.0"
