"""The faults room: known conversion bugs, injected on purpose, to prove that each would be caught.

A fault is one decorated function, or one row, in `harness.faults.catalogue`. `FaultInjector.inject`
judges it by the comparisons and gates of a run, and returns an `InjectedFault` for its document.
"""

from harness.faults import catalogue
from harness.faults.injector import SUBJECT, FaultInjector
from harness.faults.registry import LEVELS, Fault, all_faults, fault, get_fault, select_faults

__all__ = [
    "LEVELS",
    "SUBJECT",
    "Fault",
    "FaultInjector",
    "all_faults",
    "catalogue",
    "fault",
    "get_fault",
    "select_faults",
]
