"""A test session in which every layer holds, and the inventory of it."""

from __future__ import annotations

from typing import Final

from harness.verdicts import LAYERS
from harness.verdicts.inventory import Cell, Count, Inventory, Shape

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


def inventory_of_green() -> Inventory:
    """Return what a session of `GREEN` and `FAULTS` looks at: a check of each layer and subject."""
    shapes = {name: Shape(stems=6, taps=35, trained=name == "mini") for name in SUBJECTS}
    one = {"conversion": Count(once=1)}
    cells = (Cell(layer, name, layer, "", one) for layer in LAYERS for name in SUBJECTS)
    return Inventory(shapes, tuple(cells), ("stems.order",))
