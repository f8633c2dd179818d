"""The pytest plugin of a conformance run: what it selects, observes and writes.

``pytest -p harness.conformance.plugin -n 2 --conformance-out FOLDER`` on coremltools' tests; see
`harness.conformance.run`. It needs pytest-xdist: test processes select, seed and observe, the
controlling process judges and writes ``conformance.json`` and ``conformance.md``.

Each test starts from random numbers that depend on its id alone, so a failure can be repeated on
its own.
"""

from __future__ import annotations

import datetime
import gc
import random
import time
import zlib
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.atomic import write_texts
from harness.conformance.executors import EXECUTORS
from harness.conformance.results import FILES, CaseResult, CaseStatus, summarise
from harness.conformance.selection import backend_of, sample
from harness.conformance.table import to_markdown
from harness.conformance.waivers import read_waivers
from harness.errors import UnsupportedOperationError
from harness.mil import Model
from harness.mil.bridge.plugin import LEDGER
from harness.mil.bridge.proxy import Predict
from harness.origin import provenance
from harness.verdicts.rows.documents import ListedRow

pytest_plugins = ["harness.mil.bridge.plugin"]

OBSERVED = "conformance"
_COMPLETE = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a conformance run."""
    group = parser.getgroup("conformance")
    group.addoption("--conformance-out", metavar="FOLDER", help="where the document goes")
    group.addoption("--conformance-sample", type=int, default=0, metavar="N", help="N per function")
    group.addoption("--conformance-engine", default="mil", choices=sorted(EXECUTORS))
    group.addoption("--conformance-waivers", metavar="FILE", help="instead of the built-in waivers")


def pytest_configure(config: pytest.Config) -> None:
    """Observe in a test process, judge in the controlling one."""
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(ConformanceWorker(config), "conformance-worker")
    elif config.getoption("conformance_out"):
        if not config.getoption("numprocesses", None):
            raise pytest.UsageError("a conformance run needs test processes: add -n 2")
        config.pluginmanager.register(ConformanceController(config), "conformance-controller")


class ConformanceWorker:
    """One test process."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._ledger = config.stash[LEDGER]
        self._execute = EXECUTORS[config.getoption("conformance_engine")]
        self._refused = 0
        self._ledger.execute = self._opened

    def _opened(self, model: Model) -> Predict:
        """Note which programs the engine refuses by name: that is no failure of what it has."""
        try:
            return self._execute(model)
        except UnsupportedOperationError:
            self._refused += 1
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests of ML Programs, or the sample of them."""
        backends = {item.nodeid: backend_of(_parameters(item)) for item in items}
        chosen = {name for name, backend in backends.items() if backend in (None, "mlprogram")}
        output: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined]
        output[OBSERVED] = sorted(chosen)
        per_function = self._config.getoption("conformance_sample")
        if per_function:
            named = (name for name, backend in backends.items() if backend == "mlprogram")
            chosen &= sample(named, per_function)
        dropped = [item for item in items if item.nodeid not in chosen]
        items[:] = [item for item in items if item.nodeid in chosen]
        self._config.hook.pytest_deselected(items=dropped)

    def pytest_collection_finish(self) -> None:
        """Let the garbage collector forget what stays: each conversion calls it to run in full."""
        gc.collect()
        gc.freeze()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Seed the test and note what goes through the bridge meanwhile."""
        seed = zlib.crc32(item.nodeid.encode())
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (what coremltools' tests draw from)
        loaded, predicted = len(self._ledger.loadings), self._ledger.predictions
        refused = self._refused
        try:
            return (yield)
        finally:
            loadings = self._ledger.loadings[loaded:]
            operations = sorted(set().union(*(loading.operations for loading in loadings)))
            predictions = self._ledger.predictions - predicted
            kinds = {loading.kind for loading in loadings}
            other = bool(kinds - {"mlProgram"})
            observed = [operations, predictions, other, self._refused > refused]
            item.user_properties.append((OBSERVED, observed))


class ConformanceController:
    """The process that hands out the tests and judges what comes back."""

    def __init__(self, config: pytest.Config) -> None:
        self._out = Path(config.getoption("conformance_out"))
        self._sample = config.getoption("conformance_sample")
        self._engine = config.getoption("conformance_engine")
        self._expression = config.getoption("keyword", "")
        path = config.getoption("conformance_waivers")
        self._waivers = read_waivers(Path(path)) if path else read_waivers()
        self._results: dict[str, CaseResult] = {}
        self._collected: set[str] = set()
        self._expected: set[str] = set()
        self._problems: list[str] = []
        self._clock = time.monotonic()
        self._started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")

    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Note which tests have to come back."""
        self._expected.update(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of a test; a failure in any phase is the test's."""
        known = self._results.get(report.nodeid)
        if known is None or (report.failed and known.outcome is not CaseStatus.FAILED):
            if report.when == "call" or not report.passed:
                self._results[report.nodeid] = _result(report)
        elif report.when == "call":
            self._results[report.nodeid] = _result(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that can't be imported is a problem of the run."""
        if report.failed:
            self._problems.append(f"{report.nodeid} could not be collected: {_message(report)}")

    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Note what a test process collected, or that it died."""
        if error:
            self._problems.append(f"a test process died: {error}")
        self._collected.update(getattr(node, "workeroutput", {}).get(OBSERVED, ()))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge, write the document, and let the exit status say the verdict."""
        if exitstatus not in _COMPLETE:
            return
        lost = self._expected - set(self._results)
        if lost:
            self._problems.append(f"{len(lost)} tests never ended, among them {min(lost)}")
        results = [self._waived(self._results[name]) for name in sorted(self._results)]
        document = summarise(
            results,
            selection=self._selection(),
            collected=len(self._collected),
            stale_waivers=self._stale(),
            problems=tuple(self._problems),
            provenance=provenance(),
            started=self._started,
            duration_s=round(time.monotonic() - self._clock, 1),
        )
        texts = (document.to_json(), to_markdown(document))
        write_texts(self._out, dict(zip(FILES, texts, strict=True)))
        session.exitstatus = document.exit_code

    def _waived(self, result: CaseResult) -> CaseResult:
        if result.outcome is not CaseStatus.FAILED or result.id not in self._waivers:
            return result
        return replace(result, outcome=CaseStatus.WAIVED, reason=self._waivers[result.id])

    def _stale(self) -> tuple[ListedRow, ...]:
        stale = []
        for name in self._waivers:
            result = self._results.get(name)
            if self._collected and name not in self._collected:
                stale.append(ListedRow(name, "the test does not exist"))
            elif result is not None and result.outcome is not CaseStatus.FAILED:
                stale.append(ListedRow(name, f"the test did not fail ({result.outcome.value})"))
        return tuple(stale)

    def _selection(self) -> str:
        words = f"{self._sample} of each test function" if self._sample else "every test"
        words += f" that matches {self._expression!r}" if self._expression else ""
        return words if self._engine == "mil" else f"{words}, by the engine {self._engine},"


def _parameters(item: pytest.Item) -> dict[str, Any]:
    callspec = getattr(item, "callspec", None)
    return {} if callspec is None else dict(callspec.params)


def _result(report: pytest.TestReport) -> CaseResult:
    observed: Any = dict(report.user_properties).get(OBSERVED, ((), 0, False, False))
    operations, predictions = tuple(observed[0]), int(observed[1])
    other_kind, refused = bool(observed[2]), bool(observed[3])
    if other_kind:
        outcome, reason = CaseStatus.OTHER_KIND, ""
    elif report.failed and refused:
        outcome, reason = CaseStatus.REFUSED, _message(report)
    elif report.failed:
        outcome, reason = CaseStatus.FAILED, _message(report)
    elif report.skipped:
        outcome, reason = CaseStatus.SKIPPED, _skip_reason(report)
    else:
        outcome = CaseStatus.PASSED if predictions else CaseStatus.CONVERTED_ONLY
        reason = ""
    return CaseResult(report.nodeid, outcome, operations, predictions, reason)


def _skip_reason(report: pytest.TestReport) -> str:
    longrepr = report.longrepr
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    return " ".join(text.split())[:500]
