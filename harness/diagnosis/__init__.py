"""Why a run failed: which layer, which operation, and how near FP16's ends it is."""

from harness.diagnosis.explain import explain, focus_of
from harness.diagnosis.findings import OperationError, ThreeWay
from harness.diagnosis.headroom import HeadroomAudit, OperationHeadroom, audit_headroom
from harness.diagnosis.three_way import three_way

__all__ = [
    "HeadroomAudit",
    "OperationError",
    "OperationHeadroom",
    "ThreeWay",
    "audit_headroom",
    "explain",
    "focus_of",
    "three_way",
]
