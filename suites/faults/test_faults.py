"""Known conversion bugs, injected on purpose: each must turn the layer that it belongs to red.

Here are those that are marked as the sample, a few of each level, so that every run shows that its
gates still see something. ``parity faults`` injects all of them.
"""

from __future__ import annotations

import pytest

from harness.faults import Fault, FaultsRoom, select_faults
from harness.pytest_plugin import Recorder
from harness.workbench import Workbench

pytestmark = pytest.mark.layer("faults")


@pytest.fixture(scope="session")
def room(bench: Workbench) -> FaultsRoom:
    return FaultsRoom(bench)


@pytest.mark.parametrize("injected", select_faults(sample=True), ids=lambda fault: fault.name)
def test_fault(parity: Recorder, room: FaultsRoom, injected: Fault) -> None:
    parity.fault(room.inject(injected, thorough=False))
