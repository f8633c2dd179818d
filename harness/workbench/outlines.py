"""How a subject's network is built, in the words of figures: its sources, outputs and stages."""

from __future__ import annotations

from harness.subjects import describe_subject
from harness.verdicts.rows.packages import NetworkOutline, Stage


def outline_of(subject: str) -> NetworkOutline:
    """Return what figures name of a subject."""
    network = describe_subject(subject)
    stages = tuple(Stage(*stage) for stage in network.stages)
    return NetworkOutline(subject, network.sources, tuple(network.interface.outputs), stages)
