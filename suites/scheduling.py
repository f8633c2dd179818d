"""Which tests one process works on: those that share predictions.

``--dist loadgroup`` is meant for this, and does nothing from pytest 9.2 on: pytest-xdist 3.8 names
the groups in an attribute that pytest doesn't read any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from harness.pytest_plugin import profile_of


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return what gives all tests of a subject and a case to one process, under --dist loadscope.

    Tests that are about no subject are given out one by one.
    """
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    subjects = profile_of(config).subjects

    class BySubjectAndCase(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return work_unit(nodeid, subjects)

    return BySubjectAndCase(config, log)


def work_unit(nodeid: str, subjects: Sequence[str]) -> str:
    """Return the subject and the case that a test is about, or the recipe; its own id for others.

    Args:
        nodeid: of the test; the first of its parameters is the subject, the second case or recipe.
        subjects: of the run.
    """
    words = nodeid.partition("[")[2].removesuffix("]")
    for subject in subjects:
        if words.startswith(f"{subject}-"):
            return f"{subject} {words.removeprefix(f'{subject}-').partition('-')[0]}"
    return nodeid
