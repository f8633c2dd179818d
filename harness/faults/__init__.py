"""The faults room: known conversion bugs, injected on purpose, to prove that each would be caught.

A fault is one decorated function in `harness.faults.catalogue`. `FaultsRoom.inject` judges it by
the same comparisons and gates as a run, and returns an `InjectedFault` for the run document.
"""

from harness.faults.injector import SUBJECT, FaultsRoom
from harness.faults.registry import LEVELS, Fault, all_faults, fault, get_fault, select_faults

__all__ = [
    "LEVELS",
    "SUBJECT",
    "Fault",
    "FaultsRoom",
    "all_faults",
    "fault",
    "get_fault",
    "select_faults",
]
