"""Compares the programs of packages themselves: operations, settings, constants and wiring.

``compare_programs(expected, actual)`` says what differs, and where that comes from in PyTorch;
``without_precision`` takes types out of a program, so that one in FP16 stands beside one in FP32.
"""

from harness.structure.comparison import ProgramComparison, compare_programs
from harness.structure.differences import ProgramChange, Significance
from harness.structure.neutral import without_precision

__all__ = [
    "ProgramChange",
    "ProgramComparison",
    "Significance",
    "compare_programs",
    "without_precision",
]
