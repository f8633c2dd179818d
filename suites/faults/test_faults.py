"""Known conversion bugs, injected on purpose: each must turn the layer that it belongs to red.

Here are those that are marked as the sample, a few of each level, so that every run shows that its
gates still see something. ``parity faults`` injects all of them.
"""

from __future__ import annotations

import pytest

from harness.faults import Fault, FaultInjector, select_faults
from harness.pytest_plugin import Recorder
from harness.workbench import Workbench

pytestmark = pytest.mark.layer("faults")


@pytest.fixture(scope="session")
def injector(bench: Workbench) -> FaultInjector:
    return FaultInjector(bench)


@pytest.mark.parametrize("injected", select_faults(sample=True), ids=lambda fault: fault.name)
def test_fault(parity: Recorder, injector: FaultInjector, injected: Fault) -> None:
    parity.fault(injector.inject(injected, thorough=False))
