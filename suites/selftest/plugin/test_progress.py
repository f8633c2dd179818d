"""What a run says while it works, which people watch for half an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.pytest_plugin.progress import LINE_EVERY_S, Progress
from harness.verdicts import Check, Profile, Run, failed, gate

OUT = ("-p", "harness.pytest_plugin", "-p", "no:cacheprovider", "-q", "--parity-out", "out")
BAD = """
@pytest.mark.parametrize("row", ["mini-song", "mini-noise"])
def test_bad(parity, row):
    parity.compare(ONES, ONES + (row == "mini-noise"), "surgery", case=row)
"""
A, B = "suites/surgery/test_a.py::test_x", "suites/conversion/test_b.py::test_y"


class Terminal:
    """What the reporter of pytest does with lines."""

    def __init__(self, *, isatty: bool = False) -> None:
        self.isatty, self.text = isatty, ""

    def write_line(self, line: str) -> None:
        self.text += line + "\n"

    def write(self, text: str) -> None:
        self.text += text

    def rewrite(self, line: str, *, erase: bool) -> None:
        self.text += "\r" + line

    def flush(self) -> None: ...


def progress(tmp_path: Path, terminal: Terminal, now: list[float]) -> Progress:
    made = Progress(tmp_path, clock=lambda: now[0])
    made._terminal = terminal
    made._expect([f"{A}[mini-song]", f"{A}[mini-noise]", f"{B}[mini-song]"])
    return made


def end(made: Progress, nodeid: str, outcome: str = "passed", seconds: float = 10) -> None:
    location = (nodeid, None, nodeid)
    for when in ("call", "teardown"):
        report = pytest.TestReport(nodeid, location, {}, outcome, None, when, duration=seconds)  # type: ignore[arg-type]
        made.pytest_runtest_logreport(report)
        outcome, seconds = "passed", 0


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "workers"])
def test_a_run_says_its_layer_case_and_time_instead_of_dots(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    path = suite.path / "test_surgery.py"
    path.write_text(path.read_text("utf-8") + BAD, encoding="utf-8")
    said = suite.runpytest_inprocess(*OUT, *workers).stdout
    said.re_match_lines([r"test_\w+.*: \d of 8 tests, \d+ s so far"])
    said.fnmatch_lines(["failed: test_surgery.py::test_bad[[]mini-noise[]]"])
    again = suite.runpytest_inprocess(*OUT, *workers).stdout
    again.re_match_lines([r"test_\w+.*: \d of 8 tests.*, (\d+ s left|time left not known yet)"])
    said.no_re_match_line(r"^[.F]+\s")


def test_a_log_has_a_line_for_each_layer_and_every_20_s(tmp_path: Path) -> None:
    now, terminal = [0.0], Terminal()
    made = progress(tmp_path, terminal, now)
    made.pytest_runtest_logstart(f"{A}[mini-song]")
    end(made, f"{A}[mini-song]")
    now[0] = LINE_EVERY_S - 1
    made.pytest_runtest_logstart(f"{A}[mini-noise]")
    made.pytest_runtest_logstart(f"{B}[mini-song]")
    now[0] += LINE_EVERY_S
    made.pytest_runtest_logstart(f"{A}[mini-noise]")
    assert terminal.text.splitlines() == [
        "surgery mini-song: 0 of 3 tests, 0 s so far",
        "conversion mini-song: 1 of 3 tests, 19 s so far",
        "surgery mini-noise: 1 of 3 tests, 39 s so far",
    ]


def test_a_terminal_has_one_line_and_one_for_each_failure(tmp_path: Path) -> None:
    now, terminal = [0.0], Terminal(isatty=True)
    made = progress(tmp_path, terminal, now)
    made.pytest_runtest_logstart(f"{A}[mini-song]")
    end(made, f"{A}[mini-song]", "failed")
    now[0] = 1.0
    made.pytest_runtest_logstart(f"{B}[mini-song]")
    made.pytest_sessionfinish()
    assert terminal.text.split("\r") == [
        "",
        "surgery mini-song: 0 of 3 tests, 0 s so far",
        f"failed: {A}[mini-song]\n",
        "conversion mini-song: 1 of 3 tests, 1 failed, 1 s so far",
        "",
    ]


def test_the_time_left_is_that_of_the_run_before(tmp_path: Path) -> None:
    """What took 2 s then took a minute now, so the 20 s that are left will take ten."""
    outcome = failed("x")
    rows = ((f"{A}[mini-song]", 2.0), (f"{A}[mini-noise]", 10.0), (f"{B}[mini-song]", 10.0))
    checks = [
        Check(
            "surgery", {"case": name}, True, gate("surgery"), outcome, seconds, f"pytest '{name}'"
        )
        for name, seconds in rows
    ]
    run = Run(Profile("parity", layers=(), engines=()), tuple(checks))
    (tmp_path / "run.json").write_text(run.to_json(), encoding="utf-8")
    now, terminal = [0.0], Terminal()
    made = progress(tmp_path, terminal, now)
    end(made, f"{A}[mini-song]")
    now[0] = 60.0
    made.pytest_runtest_logstart(f"{B}[mini-song]")
    assert terminal.text == "conversion mini-song: 1 of 3 tests, 10 min left\n"


def test_a_new_test_is_expected_to_take_as_long_as_the_others(tmp_path: Path) -> None:
    now, terminal = [0.0], Terminal()
    made = progress(tmp_path, terminal, now)
    made._past.update({f"{A}[mini-song]": 1.0, f"{A}[mini-noise]": 3.0})
    end(made, f"{A}[mini-song]")
    now[0] = 30.0
    made.pytest_runtest_logstart(f"{B}[mini-song]")
    assert terminal.text == "conversion mini-song: 1 of 3 tests, 2 min left\n"  # 3 s and 2 s of it
