"""The border between pytest and a run: what suites record becomes one document.

A suite marks its module with ``pytestmark = pytest.mark.layer("surgery")`` and asks for the
fixture ``parity``, a `Recorder`. Every comparison that it makes through the recorder is a check of
the run, under pytest-xdist too: records travel as report properties to the controlling process,
where one `Collector` gathers them. With ``--parity-out DIR`` the run is written there (``run.json``
and the report), and pytest's exit status becomes the run's: 0 pass, 1 fail, 3 not evaluated.

It fails closed: a layered test that records nothing, is skipped, deselected or never finishes
(a worker died) keeps the run from being green, and so does whatever the inventory lists and no test
looked at. Whoever asks for a run gets one, or an exit status that is not 0: options that collect or
print only, and plugins that are switched off, end with 3.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Final

import pytest

from harness.errors import NotEvaluatedError
from harness.pytest_plugin.gatherer import ASSERTS, DESELECTED, Gatherer
from harness.pytest_plugin.options import (
    golden_root,
    package_store,
    profile_of,
    pytest_addoption,
)
from harness.pytest_plugin.progress import Progress
from harness.pytest_plugin.recorder import CheckFailed, Recorder, put, raise_missed
from harness.verdicts import EXIT_CODES, Verdict

__all__ = ["Recorder", "golden_root", "package_store", "profile_of", "pytest_addoption"]

_GATHERER: Final[pytest.StashKey[Gatherer]] = pytest.StashKey()


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Recorder:
    """Return the recorder of this test; its module must carry a ``layer`` mark."""
    marker = request.node.get_closest_marker("layer")
    if marker is None:
        raise pytest.UsageError(f"{request.node.nodeid} uses 'parity' but has no layer mark")
    return Recorder(request.node, marker.args[0])


def pytest_configure(config: pytest.Config) -> None:
    """Start gathering, in the controlling process only."""
    config.stash[DESELECTED] = []
    if not hasattr(config, "workerinput"):
        # Under no name of ours: what has a name can be switched off by "-p no:NAME".
        config.stash[_GATHERER] = Gatherer(config)
        config.pluginmanager.register(config.stash[_GATHERER])
        out = config.getoption("--parity-out")
        if out is not None and config.get_verbosity() <= 0:
            config.pluginmanager.register(Progress(out))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """See to it that no call that asks for a run ends with 0 unless a run passed.

    Sessions end in many ways, and some options never begin one.
    """
    status = yield
    out = config.getoption("--parity-out")
    asks_for_help = config.getoption("help") or config.getoption("version")
    if status or out is None or asks_for_help or hasattr(config, "workerinput"):
        return status
    gatherer = config.stash.get(_GATHERER, None)
    if gatherer is None or gatherer.run is None:
        print(f"NOT EVALUATED: pytest wrote no run to {out}", file=sys.stderr)
        return EXIT_CODES[Verdict.NOT_EVALUATED]
    return gatherer.run.exit_code


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remember layered tests that were left out: they leave a gap."""
    for item in items:
        if item.get_closest_marker("layer"):
            item.config.stash[DESELECTED].append(item.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a worker left out to the controlling process."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["parity_deselected"] = session.config.stash[DESELECTED]
        output["parity_asserts"] = ASSERTS


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test at its end if a gating check of it did not pass."""
    yield
    raise_missed(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach to a report what only this process knows: that it is layered, and what it raised."""
    # Before the report is made, because it copies the item's properties.
    marker = item.get_closest_marker("layer")
    if marker is not None:
        put(item, "layered", marker.args[0])
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            kind = "gap" if call.excinfo.errisinstance(NotEvaluatedError) else "error"
            kind = "missed" if call.excinfo.errisinstance(CheckFailed) else kind
            text = f"{call.excinfo.typename}: {call.excinfo.value}".partition("\n")[0]
            put(item, kind, text)
    return (yield)
