"""Compares the programs of packages themselves: operations, settings, constants and wiring.

``compare_programs(expected, actual)`` says what differs, and where that comes from in PyTorch.
"""

from harness.structure.comparison import ProgramComparison, compare_programs
from harness.structure.differences import Difference, Kind, Severity

__all__ = ["Difference", "Kind", "ProgramComparison", "Severity", "compare_programs"]
