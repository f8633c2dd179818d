"""The precision lab: what FP16 costs, operation by operation, and the least FP32 that is enough.

`VirtualPrecision` gives a model in FP32 any precision without converting it.
"""

from __future__ import annotations

from harness.precision.virtual import Choice, VirtualPrecision, operation_name

__all__ = ["Choice", "VirtualPrecision", "operation_name"]
