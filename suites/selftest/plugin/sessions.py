"""A test session in which every layer holds, and the inventory of it."""

from __future__ import annotations

from typing import Final

from harness.verdicts import LAYERS
from harness.verdicts.completeness import Expectation, Expected

SUBJECTS: Final = ("mini", "htdemucs_6s@seeded")

GREEN: Final = """
import numpy as np
import pytest

pytestmark = pytest.mark.layer("{layer}")
ONES = np.ones(10, np.float32)

def test_sound(parity):
    parity.executed("torch")
    parity.executed("mil")
    for subject in ("mini", "htdemucs_6s@seeded"):
        parity.compare(ONES, ONES, "conversion", case="{layer}", subject=subject)
"""

FAULTS: Final = """
import pytest
from harness.verdicts import FaultOutcome, InjectedFault

pytestmark = pytest.mark.layer("faults")

def test_fault(parity):
    parity.fault(InjectedFault("stems.order", "stems", "bug", "source", "end_to_end",
                               FaultOutcome.CAUGHT))
"""


def inventory_of_green() -> Expectation:
    """Return what a session of `GREEN` and `FAULTS` looks at: a check of each layer and subject."""
    rows = [
        Expected(layer, name, layer, kind="conversion", gating=1)
        for layer in LAYERS
        for name in SUBJECTS
    ]
    return Expectation(tuple(rows), ("stems.order",))
