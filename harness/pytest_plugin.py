"""The border between pytest and a run: what suites record becomes one document.

A suite marks its module with ``pytestmark = pytest.mark.layer("surgery")`` and asks for the
fixture ``parity``, a `Recorder`. Every comparison that it makes through the recorder is a check of
the run, under pytest-xdist too: records travel as report properties to the controlling process,
where one `Collector` gathers them. With ``--parity-out DIR`` the run is written there (``run.json``
and the report), and pytest's exit status becomes the run's: 0 pass, 1 fail, 3 not evaluated.

It fails closed: a layered test that records nothing, is skipped, deselected or never finishes
(a worker died) keeps the run from being green.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import NotEvaluatedError, RunError
from harness.origin import provenance
from harness.profiles import DEFAULT, GOLDEN_ROOT, chosen_profile, engine_states
from harness.verdicts import (
    LAYERS,
    Check,
    GoldenState,
    InjectedFault,
    Outcome,
    Profile,
    Record,
    Run,
    Snapshot,
    Verdict,
    Waiver,
    bound,
    check_from_dict,
    check_to_dict,
    compare,
    fault_from_dict,
    fault_to_dict,
    gate,
    not_evaluated,
    read_baseline,
    read_waivers,
    recall,
    remember,
)
from harness.verdicts.artefacts import KIND_OF, Attachment
from harness.verdicts.attachments import read_attachment
from harness.verdicts.collector import Collector

_PREFIX = "parity."
_DESELECTED: pytest.StashKey[list[str]] = pytest.StashKey()


class Recorder:
    """Records what one test finds; the fixture ``parity``.

    Every method that compares returns the outcome after recording it, and raises `AssertionError`
    when the check is gating and did not pass.
    """

    def __init__(self, item: pytest.Item, layer: str) -> None:
        self._item = item
        self.layer = layer
        self._clock = time.perf_counter()

    def compare(
        self,
        expected: np.ndarray,
        actual: np.ndarray,
        gate_name: str,
        *,
        gating: bool = True,
        **labels: str,
    ) -> Outcome:
        """Compare two arrays under a gate of the table."""
        outcome = compare(expected, actual, gate(gate_name))
        return self.record(outcome, gate_name, gating=gating, **labels)

    def bound(self, value: float, gate_name: str, *, gating: bool = True, **labels: str) -> Outcome:
        """Judge one number under a gate of the table."""
        outcome = bound(value, gate(gate_name), what=labels.get("what", "the value"))
        return self.record(outcome, gate_name, gating=gating, **labels)

    def not_evaluated(self, reason: str, gate_name: str, **labels: str) -> Outcome:
        """Record that something required could not be looked at."""
        return self.record(not_evaluated(reason), gate_name, gating=True, **labels)

    def record(
        self, outcome: Outcome, gate_name: str, *, gating: bool = True, **labels: str
    ) -> Outcome:
        """Record an outcome that was computed elsewhere."""
        now = time.perf_counter()
        check = Check(
            layer=self.layer,
            labels=labels,
            gating=gating,
            gate=gate(gate_name),
            outcome=outcome,
            duration_s=round(now - self._clock, 4),
            command=f"python -m pytest {shlex.quote(self._item.nodeid)}",
        )
        self._clock = now
        self._put("check", check_to_dict(check))
        if gating and outcome.verdict is not Verdict.PASS:
            raise AssertionError(f"{check.id}: {outcome.reason}")
        return outcome

    def fault(self, fault: InjectedFault) -> InjectedFault:
        """Record a known bug that was injected; raises unless it was caught."""
        self._put("fault", fault_to_dict(fault))
        if not fault.caught:
            raise AssertionError(f"fault {fault.name}: {fault.outcome.value}: {fault.reason}")
        return fault

    def golden(self, state: GoldenState) -> None:
        """Record what was found of a golden."""
        self._put("golden", vars(state))

    def executed(self, engine: str) -> None:
        """Record that an engine really executed something."""
        self._put("executed", engine)

    def artefact(self, kind: str, item: Any) -> None:
        """Record a table row or a series for the report."""
        self._put("artefact", [kind, item])

    def keep(self, item: Any) -> None:
        """Record a row of `harness.verdicts.artefacts` for a figure of the report."""
        self.artefact(KIND_OF[type(item)], asdict(item))

    def _put(self, kind: str, value: Any) -> None:
        # JSON text: xdist can't carry NumPy scalars, and the JUnit writer wants strings.
        self._item.user_properties.append((_PREFIX + kind, json.dumps(value)))


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Recorder:
    """Return the recorder of this test; its module must carry a ``layer`` mark."""
    marker = request.node.get_closest_marker("layer")
    if marker is None:
        raise pytest.UsageError(f"{request.node.nodeid} uses 'parity' but has no layer mark")
    return Recorder(request.node, marker.args[0])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a parity run."""
    group = parser.getgroup("parity", "parity run")
    group.addoption("--parity-out", type=Path, metavar="DIR", help="write run.json and report here")
    group.addoption(
        "--parity-history", type=Path, metavar="DIR", help="remember the run in this folder"
    )
    group.addoption(
        "--parity-baseline", type=Path, metavar="FILE", help="the accepted baseline, if it is there"
    )
    group.addoption(
        "--parity-waivers", type=Path, metavar="FILE", help="failures that are accepted for a while"
    )
    group.addoption(
        "--parity-attach",
        action="append",
        type=Path,
        metavar="FILE",
        help="a document of parity sensitivity, tune or headroom for the report (repeatable)",
    )
    group.addoption(
        "--parity-audio", action="store_true", help="keep short excerpts of stems to be heard"
    )
    group.addoption(
        "--subject", action="append", metavar="S", help="subject under proof (repeatable)"
    )
    group.addoption("--recipe", action="append", metavar="P", help="precision recipe (repeatable)")
    group.addoption("--case", action="append", metavar="C", help="only these cases (repeatable)")
    group.addoption(
        "--require", action="append", metavar="ENGINE", help="an engine that must have executed"
    )
    group.addoption(
        "--golden-root", type=Path, metavar="DIR", help="golden folder (default: golden)"
    )


def profile_of(config: pytest.Config) -> Profile:
    """Return what this invocation sets out to evaluate."""
    return chosen_profile(
        subjects=config.getoption("--subject") or (),
        cases=config.getoption("--case") or (),
        recipes=config.getoption("--recipe") or (),
        engines=config.getoption("--require") or (),
    )


def golden_root(config: pytest.Config) -> Path:
    """Return the folder with the golden recipes that this invocation uses."""
    given: Path | None = config.getoption("--golden-root")
    return given or config.rootpath / GOLDEN_ROOT


def pytest_configure(config: pytest.Config) -> None:
    """Start gathering, in the controlling process only."""
    config.stash[_DESELECTED] = []
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Gatherer(config), "parity-gatherer")


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Remember layered tests that were left out: they leave a gap."""
    for item in items:
        if item.get_closest_marker("layer"):
            item.config.stash[_DESELECTED].append(item.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what a worker left out to the controlling process."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["parity_deselected"] = session.config.stash[_DESELECTED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach to a report what only this process knows: that it is layered, and what it raised."""
    # Before the report is made, because it copies the item's properties.
    marker = item.get_closest_marker("layer")
    if marker is not None:
        item.user_properties.append((_PREFIX + "layered", json.dumps(marker.args[0])))
        if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
            kind = "gap" if call.excinfo.errisinstance(NotEvaluatedError) else "error"
            text = f"{call.excinfo.typename}: {call.excinfo.value}".partition("\n")[0]
            item.user_properties.append((_PREFIX + kind, json.dumps(text)))
    report = yield
    return report


def _waivers(config: pytest.Config) -> tuple[Waiver, ...]:
    file: Path | None = config.getoption("--parity-waivers")
    try:
        return read_waivers(file) if file else ()
    except RunError as error:
        raise pytest.UsageError(str(error)) from error


@dataclass
class _Progress:
    """What one test has said so far."""

    checks: int = 0
    failing: int = 0
    error: str = ""
    gap: str = ""
    skip: str = ""
    layered: bool = False
    layer: str = ""
    finished: bool = False
    taken: int = 0
    outcomes: list[str] = field(default_factory=list)


def _attachment(file: Path) -> Attachment:
    try:
        return read_attachment(file)
    except RunError as error:
        raise pytest.UsageError(str(error)) from error


class Gatherer:
    """Turns reports into a run; lives in the controlling process."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.collector = Collector(profile_of(config), engine_states())
        for file in config.getoption("--parity-attach") or ():
            item = _attachment(file)
            self.collector.add_artefact(KIND_OF[type(item)], asdict(item))
        self.run: Run | None = None
        self._waivers = _waivers(config)
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
        if error:
            self.collector.problems.append(f"a test process died ({node.gateway.id}: {error})")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A suite that can't be collected is a problem of the harness."""
        if report.failed:
            self.collector.problems.append(f"{report.nodeid} could not be collected")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take over what one phase of one test recorded."""
        state = self._tests.setdefault(report.nodeid, _Progress())
        # Properties accumulate over the phases of a test; each is taken once.
        fresh, state.taken = report.user_properties[state.taken :], len(report.user_properties)
        for key, value in fresh:
            if str(key).startswith(_PREFIX):
                self._take(state, str(key)[len(_PREFIX) :], json.loads(str(value)))
        if report.skipped:
            longrepr = report.longrepr
            state.skip = longrepr[2] if isinstance(longrepr, tuple) else "expected to fail"
            state.error = ""  # an expected failure raises, too
        elif report.failed and not state.error and not state.gap:
            state.error = str(report.longrepr).strip().splitlines()[-1]
        state.finished = state.finished or report.when == "teardown"

    def _take(self, state: _Progress, kind: str, value: Any) -> None:
        if kind == "layered":
            state.layered, state.layer = True, value
        elif kind == "error":
            state.error = state.error or value
        elif kind == "gap":
            state.gap = state.gap or value
        elif kind == "check":
            check = check_from_dict(value)
            self.collector.add_check(check)
            state.checks += 1
            state.failing += check.gating and check.verdict is not Verdict.PASS
        elif kind == "fault":
            fault = fault_from_dict(value)
            self.collector.add_fault(fault)
            state.checks += 1
            state.failing += not fault.caught
        elif kind == "golden":
            self.collector.add_golden(GoldenState(**value))
        elif kind == "executed":
            self.collector.executed(value)
        elif kind == "artefact":
            self.collector.add_artefact(*value)

    def _close(self) -> None:
        """Say what did not come back as it should."""
        for nodeid, state in self._tests.items():
            if not state.layered and state.finished:
                if state.error:
                    self.collector.problems.append(f"{nodeid}: {state.error}")
            elif not state.finished:
                self.collector.problems.append(f"{nodeid} never finished")
            elif state.error and not state.failing:
                self.collector.problems.append(f"{nodeid}: {state.error}")
            elif state.gap:
                self._leave_open(nodeid, state, state.gap)
            elif state.skip:
                self._leave_open(nodeid, state, f"was skipped: {state.skip}")
            elif not state.checks:
                self._leave_open(nodeid, state, "recorded no check")
        here: list[str] = self.config.stash[_DESELECTED]
        left_out = self._deselected.union(here)
        if left_out:
            self.collector.gaps.append(
                f"{len(left_out)} tests were deselected, the first is {min(left_out)}"
            )

        self.collector.waivers = self._waivers
        if self.collector.profile != DEFAULT:  # narrowed: it is not meant to have every check
            here_now = {check.id for check in self.collector.checks}
            self.collector.waivers = tuple(w for w in self._waivers if w.check in here_now)

    def _leave_open(self, nodeid: str, state: _Progress, reason: str) -> None:
        """Keep the test's layer from being green: what it should have looked at, it did not."""
        if state.layer not in LAYERS:  # the faults, which are no rung of the ladder
            self.collector.gaps.append(f"{nodeid} {reason}")
            return
        outcome = not_evaluated(reason)
        self.collector.add_check(Check(state.layer, {"what": nodeid}, True, None, outcome))

    def _record(self, run: Run) -> Record:
        """Return what the report is held against, and remember this run for the next one."""
        folder: Path | None = self.config.getoption("--parity-history")
        file: Path | None = self.config.getoption("--parity-baseline")
        past = recall(folder) if folder else ()
        if folder:
            remember(folder, Snapshot.of(run))
        if file is None or not file.exists():
            return Record(past=past)
        baseline = read_baseline(file)
        return Record(baseline.snapshot, baseline.reason, past)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the run, and let its verdict be the exit status."""
        out: Path | None = self.config.getoption("--parity-out")
        if out is None or self.config.getoption("--collect-only"):
            return
        from harness.report import write_report

        self._close()
        self.run = self.collector.finish(
            provenance(["python", "-m", "pytest", *self.config.invocation_params.args])
        )
        write_report(self.run, out, self._record(self.run))
        session.exitstatus = self.run.exit_code

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say the verdict, why, and where to read on."""
        if self.run is None:
            return
        colour = {Verdict.PASS: "green", Verdict.FAIL: "red"}.get(self.run.verdict, "yellow")
        terminalreporter.section("parity run", sep="=", bold=True)
        for layer in self.run.layers:
            terminalreporter.line(f"{layer.layer:<11} {layer.verdict.value:<14} {layer.reason}")
        for reason in (self.run.red + self.run.missing)[:20]:
            terminalreporter.line(f"- {reason}")
        terminalreporter.line(self.run.sentence(), **{colour: True, "bold": True})
        out = self.config.getoption("--parity-out")
        terminalreporter.line(f"report: {out / 'index.html'}")
