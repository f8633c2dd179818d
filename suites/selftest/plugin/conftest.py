"""What the tests of the plugin share."""

from __future__ import annotations

import sys

# pytester takes out of sys.modules what a session in this process imported, so each would again.
import hypothesis  # noqa: F401
import pytest

import harness.report
import harness.workbench.expectation  # noqa: F401
from harness.places import INVENTORY
from harness.verdicts import LAYERS
from harness.verdicts.inventory import inventory_text
from suites.selftest.plugin.sessions import FAULTS, GREEN, inventory_of_green


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A session in which every layer holds and the injected fault is caught."""
    for name in (*LAYERS, "faults"):  # a module of ours by the same name is not the session's
        monkeypatch.delitem(sys.modules, f"test_{name}", raising=False)
    pytester.makeini("[pytest]\nmarkers =\n  layer(name): rung\njunit_family = xunit1")
    pytester.makepyfile(**{f"test_{layer}": GREEN.format(layer=layer) for layer in LAYERS})
    pytester.makepyfile(test_faults=FAULTS)
    pytester.mkdir(INVENTORY.parent)
    (pytester.path / INVENTORY).write_text(inventory_text(inventory_of_green()), encoding="utf-8")
    return pytester
