"""What gathers the reports of all tests into one run, and lets its verdict be pytest's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from harness.errors import ParityError
from harness.origin import provenance
from harness.profiles import DEFAULT, engine_states
from harness.pytest_plugin.options import (
    attachments_of,
    expectation_of,
    idle_option,
    past_of,
    profile_of,
    waivers_of,
)
from harness.pytest_plugin.recorder import PREFIX
from harness.verdicts import (
    LAYERS,
    Check,
    GoldenState,
    InjectedFault,
    Run,
    Snapshot,
    Verdict,
    applicable,
    not_evaluated,
    remember,
)
from harness.verdicts.collector import Collector
from harness.verdicts.jsondata import restored
from harness.verdicts.rows.artefacts import ROW_CLASSES

DESELECTED: Final[pytest.StashKey[list[str]]] = pytest.StashKey()
"""Layered tests that were left out in this process."""

ASSERTS: Final = __debug__
"""Whether this process executes assert statements; under ``python -O`` it does not."""

_BROKEN_OFF: Final = {
    pytest.ExitCode.INTERRUPTED: "was interrupted",
    pytest.ExitCode.INTERNAL_ERROR: "ended with an internal error",
    pytest.ExitCode.USAGE_ERROR: "was called in a way that it refuses",
}
_NAMED: Final = 3
"""Of tests that never finished, so many are named."""


@dataclass
class _Progress:
    """What one test has said so far."""

    checks: int = 0
    missed: str = ""
    error: str = ""
    gap: str = ""
    skip: str = ""
    layered: bool = False
    layer: str = ""
    finished: bool = False
    taken: int = 0


class Gatherer:
    """Turns reports into a run; lives in the controlling process."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.collector = Collector(profile_of(config), engine_states())
        self.collector.keep(*attachments_of(config))
        self.run: Run | None = None
        self._expected, gaps = expectation_of(config)
        self.collector.gaps += gaps
        self._asserts = ASSERTS
        self._waivers = waivers_of(config)
        self._record = past_of(config)
        self._unwritten = ""
        self._tests: dict[str, _Progress] = {}
        self._deselected: set[str] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember which layered tests must report back."""
        for item in session.items:
            if item.get_closest_marker("layer"):
                self._tests.setdefault(item.nodeid, _Progress()).layered = True

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Remember the same where workers collect: every id must report back."""
        for nodeid in ids:
            self._tests.setdefault(nodeid, _Progress())

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take over what a worker left out, or that it died."""
        output = getattr(node, "workeroutput", None) or {}
        self._deselected.update(output.get("parity_deselected", ()))
        self._asserts = self._asserts and output.get("parity_asserts", True)
        if error:
            self.collector.problems.append(f"a test process died ({node.gateway.id}: {error})")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A suite that can't be collected is a problem of the harness."""
        if report.failed:
            why = str(report.longrepr).strip().splitlines()[-1].removeprefix("E").strip()
            self.collector.problems.append(f"{report.nodeid} could not be collected: {why}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take over what one phase of one test recorded."""
        state = self._tests.setdefault(report.nodeid, _Progress())
        # Properties accumulate over the phases of a test; each is taken once.
        fresh, state.taken = report.user_properties[state.taken :], len(report.user_properties)
        for key, value in fresh:
            if str(key).startswith(PREFIX):
                self._take(state, str(key)[len(PREFIX) :], json.loads(str(value)))
        if report.skipped:
            longrepr = report.longrepr
            state.skip = longrepr[2] if isinstance(longrepr, tuple) else "expected to fail"
            state.error = ""  # an expected failure raises, too
        elif report.failed and not (state.error or state.gap or state.missed):
            state.error = str(report.longrepr).strip().splitlines()[-1]
        state.finished = state.finished or report.when == "teardown"

    def _take(self, state: _Progress, kind: str, value: Any) -> None:
        if kind == "layered":
            state.layered, state.layer = True, value
        elif kind == "error":
            state.error = state.error or value
        elif kind == "missed":
            state.missed = value
        elif kind == "gap":
            state.gap = state.gap or value
        elif kind == "check":
            self.collector.checks.append(restored(Check, value, "check"))
            state.checks += 1
        elif kind == "fault":
            self.collector.faults.append(restored(InjectedFault, value, "fault"))
            state.checks += 1
        elif kind == "golden":
            self.collector.add_golden(GoldenState(**value))
        elif kind == "executed":
            self.collector.executed(value)
        elif kind == "row":
            self.collector.keep(restored(ROW_CLASSES[value[0]], value[1], value[0]))

    def _close(self, exitstatus: int) -> None:
        """Say what did not come back as it should."""
        idle = idle_option(self.config)
        if idle:
            self.collector.gaps.append(f"pytest was called with {idle}, which runs no test")
        else:
            self._close_tests()
        if exitstatus in _BROKEN_OFF:
            how = _BROKEN_OFF[pytest.ExitCode(exitstatus)]
            self.collector.problems.append(f"pytest {how}, so it did not come to its end")
        if not self._asserts:
            self.collector.gaps.append(
                "Python ran with -O or PYTHONOPTIMIZE, which leaves out every assert statement"
            )
        here: list[str] = self.config.stash[DESELECTED]
        left_out = self._deselected.union(here)
        if left_out:
            self.collector.gaps.append(
                f"{len(left_out)} tests were deselected, the first is {min(left_out)}"
            )

        self.collector.waivers = self._waivers
        if self.collector.profile != DEFAULT:  # narrowed: it is not meant to have every check
            self.collector.waivers = applicable(self._waivers, self.collector.checks)

    def _close_tests(self) -> None:
        """Say which tests did not come back as they should."""
        unfinished = []
        for nodeid, state in self._tests.items():
            if not state.finished:
                unfinished.append(nodeid)
            elif state.error:
                self.collector.problems.append(f"{nodeid}: {state.error}")
            elif not state.layered:
                continue
            elif state.gap:
                self._leave_open(nodeid, state, state.gap)
            elif state.skip:
                self._leave_open(nodeid, state, f"was skipped: {state.skip}")
            elif not state.checks:
                self._leave_open(nodeid, state, "recorded no check")
        if unfinished:
            named, rest = ", ".join(unfinished[:_NAMED]), len(unfinished) - _NAMED
            more = f" and {rest} more" if rest > 0 else ""
            self.collector.problems.append(
                f"{len(unfinished)} test(s) never finished: {named}{more}"
            )

    def _leave_open(self, nodeid: str, state: _Progress, reason: str) -> None:
        """Keep the test's layer from being green: what it should have looked at, it did not."""
        if state.layer not in LAYERS:  # the faults, which are no rung of the ladder
            self.collector.gaps.append(f"{nodeid} {reason}")
            return
        outcome = not_evaluated(reason)
        self.collector.checks.append(Check(state.layer, {"what": nodeid}, True, None, outcome))

    def _write(self, run: Run, out: Path) -> str:
        """Write the report and remember the run; return what went wrong, empty if nothing did."""
        from harness.report import write_report

        folder: Path | None = self.config.getoption("--parity-history")
        try:
            write_report(run, out, self._record)
            if folder:
                remember(folder, Snapshot.of(run))
        except OSError as error:
            return f"the report of this run can't be written ({error}); the one before it is marked"
        return ""

    def pytest_sessionstart(self) -> None:
        """Mark the report that this run will replace: a killed run must not leave it green."""
        out: Path | None = self.config.getoption("--parity-out")
        if out is None:
            return
        from harness.report import mark_overtaken

        try:
            mark_overtaken(out, self._record, started=self.collector.started)
        except OSError as error:
            raise pytest.UsageError(
                f"the folder of the report can't be written: {error}"
            ) from error

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the run, and let its verdict be the exit status."""
        out: Path | None = self.config.getoption("--parity-out")
        if out is None:
            return
        self._close(exitstatus)
        self.run = self.collector.finish(
            provenance(["python", "-m", "pytest", *self.config.invocation_params.args]),
            self._expected,
        )
        self._unwritten = self._write(self.run, out)
        session.exitstatus = ParityError.exit_code if self._unwritten else self.run.exit_code

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say the verdict, why, and where to read on."""
        if self.run is None:
            return
        colour = {Verdict.PASS: "green", Verdict.FAIL: "red"}.get(self.run.verdict, "yellow")
        terminalreporter.section("parity run", sep="=", bold=True)
        for layer in self.run.layers:
            if layer.required or self.config.getoption("--declaration") is None:
                word = layer.verdict.value.replace("_", " ")
                terminalreporter.line(f"{layer.layer:<11} {word:<14} {layer.reason}")
        for reason in (self.run.red + self.run.missing)[:20]:
            terminalreporter.line(f"- {reason}")
        terminalreporter.line(self.run.sentence(), **{colour: True, "bold": True})
        out = self.config.getoption("--parity-out")
        terminalreporter.line(self._unwritten or f"report: {out / 'index.html'}")
