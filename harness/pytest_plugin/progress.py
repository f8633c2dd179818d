"""What a run says while it works: which layer looks at what, how far it is, and the time left.

It stands where pytest writes a dot for each test. On a terminal one line is written over and over;
elsewhere, as in the log of a CI job, there is a line for each layer and every 20 s. A test that
fails is named at once.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from harness.errors import RunError
from harness.verdicts import Run
from harness.verdicts.jsondata import read_document

LINE_EVERY_S: Final = 20.0
REWRITE_EVERY_S: Final = 0.2


class Progress:
    """Writes the lines; lives in the controlling process.

    A test is expected to take as long as in the run before, and a new one as long as its fellows;
    as much of that time passes in the end, however many processes work, as passed for what is done.
    Without a run before, nothing tells heavy tests from light ones, and no time left is named.

    Args:
        out: the folder of the report, where the run before may have left how long tests take.
        clock: seconds.
    """

    def __init__(self, out: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past = _past_durations(out / "run.json")
        self._tests: dict[str, bool] = {}  # node id to whether it has ended
        self._failed: set[str] = set()
        self._layers: set[str] = set()
        self._began = self._said = clock()
        self._terminal: Any = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Take over from pytest's own writer; without one (``-p no:terminal``) nothing is said."""
        self._terminal = session.config.pluginmanager.get_plugin("terminalreporter")
        if self._terminal is not None:
            self._terminal.showfspath = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests, and begin to measure."""
        self._expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        """Count them where workers collect."""
        self._expect(ids)

    def _expect(self, nodeids: Iterable[str]) -> None:
        for nodeid in nodeids:
            self._tests.setdefault(nodeid, False)
        self._began = self._clock()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say what is looked at now, unless something was said just before."""
        layer, row = _place(nodeid)
        live = self._terminal is not None and self._terminal.isatty
        pause = REWRITE_EVERY_S if live else LINE_EVERY_S
        if layer in self._layers and self._clock() - self._said < pause:
            return
        self._layers.add(layer)
        self._said = self._clock()
        self._say(f"{layer} {row}".strip() + f": {self._how_far()}", live=live)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take over that a test has ended; name one that failed."""
        ended = report.when == "teardown"
        self._tests[report.nodeid] = self._tests.get(report.nodeid, False) or ended
        if report.failed and report.nodeid not in self._failed:
            self._failed.add(report.nodeid)
            self._say(f"failed: {report.nodeid}", live=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        """Leave out the letter of a test, which pytest would write."""
        status = yield
        return status and (status[0], "", status[2])

    def pytest_sessionfinish(self) -> None:
        """Clear the line."""
        self._say("", live=True)

    def _how_far(self) -> str:
        done = [nodeid for nodeid, ended in self._tests.items() if ended]
        failed = f", {len(self._failed)} failed" if self._failed else ""
        return f"{len(done)} of {len(self._tests)} tests{failed}, {self._time(done)}"

    def _time(self, done: Iterable[str]) -> str:
        passed_s = self._clock() - self._began
        if not self._past:
            return f"{_words(passed_s)} so far"
        mean_s = sum(self._past.values()) / len(self._past)
        work_s = {nodeid: self._past.get(nodeid, mean_s) for nodeid in self._tests}
        done_s = sum(work_s[nodeid] for nodeid in done)
        if not done_s:
            return "time left not known yet"
        return f"{_words(passed_s * (sum(work_s.values()) / done_s - 1))} left"

    def _say(self, line: str, *, live: bool) -> None:
        if self._terminal is None:
            return
        if self._terminal.isatty:
            width = shutil.get_terminal_size().columns - 1
            self._terminal.rewrite(line[:width], erase=True)
            self._terminal.write("" if live else "\n")
        elif line:
            self._terminal.write_line(line)
        self._terminal.flush()


def _place(nodeid: str) -> tuple[str, str]:
    """Return the layer of a test, which is its folder, and what its parameters are."""
    file, _, name = nodeid.partition("::")
    path = Path(file)
    return path.parent.name or path.stem, name.partition("[")[2].removesuffix("]")


def _past_durations(document: Path) -> dict[str, float]:
    """Return how long each test of an earlier run took, as far as its checks say."""
    found: dict[str, float] = defaultdict(float)
    try:
        run = read_document(document, Run.from_json)
    except RunError:
        return {}
    for check in run.checks:
        if check.command:
            found[shlex.split(check.command)[-1]] += check.duration_s
    return found


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
