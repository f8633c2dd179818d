"""Apple's Core AI as a second target: convert to ``.aimodel``, and execute on any machine.

Core AI's converter and its runtime come from PyPI with the extra ``coreai``; the runtime has a CPU
implementation of its own for Linux. `convert_to_coreai` writes an asset, `Asset` executes one in a
process of its own, and `compare_operations` lets the runtime compute single operations of a network
on the values that PyTorch has there.
"""

from harness.coreai.asset import (
    Asset,
    RuntimeCrashError,
    RuntimeLimits,
    RuntimeTimeoutError,
)
from harness.coreai.convert import convert_to_coreai
from harness.coreai.installed import coreai_availability
from harness.coreai.operations import OperationError, compare_operations

__all__ = [
    "Asset",
    "OperationError",
    "RuntimeCrashError",
    "RuntimeLimits",
    "RuntimeTimeoutError",
    "compare_operations",
    "convert_to_coreai",
    "coreai_availability",
]
