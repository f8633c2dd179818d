"""Compares the programs of packages themselves: operations, settings, constants and wiring.

``compare_programs(expected, actual)`` says what differs, and where that comes from in PyTorch.
"""

from harness.structure.comparison import ProgramComparison, compare_programs
from harness.structure.differences import ProgramChange, ProgramDifference, Significance

__all__ = [
    "ProgramChange",
    "ProgramComparison",
    "ProgramDifference",
    "Significance",
    "compare_programs",
]
