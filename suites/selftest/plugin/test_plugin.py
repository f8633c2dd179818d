"""What a run says when a test is skipped, deselected, empty, broken, or when its process dies.

Each test runs a small session of its own through the plugin, as ``nox -s parity`` does.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from harness.verdicts import Run
from harness.verdicts.rows.packages import Explanation, Step
from suites.selftest.plugin.sessions import FAULTS, GREEN


def run(suite: pytest.Pytester, *arguments: str) -> tuple[Run, int]:
    """Run the session; return its run document and its exit status."""
    out = suite.path / "out"
    options = ["-p", "harness.pytest_plugin", "--parity-out", str(out), "-p", "no:cacheprovider"]
    result = suite.runpytest_inprocess(*options, *arguments)
    document = Run.from_json((out / "run.json").read_text(encoding="utf-8"))
    assert (out / "index.html").stat().st_size > 1000
    return document, int(result.ret)


def add(suite: pytest.Pytester, body: str) -> None:
    source = GREEN.format(layer="surgery") + "\n" + body
    Path(suite.path / "test_surgery.py").write_text(source, encoding="utf-8")


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_complete_session_is_green(suite: pytest.Pytester, workers: tuple[str, ...]) -> None:
    document, status = run(suite, *workers)
    assert document.sentence() == (
        "PASS: all 10 gating checks hold for mini and htdemucs_6s@seeded, "
        "and 1 of 1 injected faults were caught."
    )
    assert status == 0


def test_a_failed_check_is_red_once(suite: pytest.Pytester) -> None:
    add(suite, "def test_bad(parity):\n    parity.compare(ONES, 2 * ONES, 'surgery', case='x')")
    document, status = run(suite)
    assert status == 1
    assert len(document.red) == 1
    assert document.red[0].startswith("surgery/surgery/x: mismatched elements: 10 / 10")


def test_an_exploratory_failure_is_recorded_and_the_session_stays_green(
    suite: pytest.Pytester,
) -> None:
    add(
        suite,
        "def test_bad(parity):\n"
        "    parity.compare(ONES, 2 * ONES, 'surgery', gating=False, recipe='fp16')",
    )
    document, status = run(suite)
    assert status == 0
    assert [check.verdict.value for check in document.checks if not check.gating] == ["fail"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def test_x(parity):\n    pass", "recorded no check"),
        ("def test_x(parity):\n    pytest.skip('tired')", "was skipped: Skipped: tired"),
        ("@pytest.mark.skip(reason='later')\ndef test_x(parity):\n    pass", "was skipped"),
        ("@pytest.mark.xfail\ndef test_x(parity):\n    assert 0", "was skipped"),
        (
            "from harness.errors import GoldenUnavailableError\n"
            "def test_x(parity):\n    raise GoldenUnavailableError('gone')",
            "GoldenUnavailableError: gone",
        ),
    ],
)
def test_what_was_not_looked_at_keeps_it_from_green(
    suite: pytest.Pytester, body: str, reason: str
) -> None:
    add(suite, body)
    document, status = run(suite)
    assert status == 3
    assert reason in document.sentence()
    assert "test_x" in document.sentence()


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_deselected_test_keeps_it_from_green(
    suite: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    add(suite, "def test_other(parity):\n    parity.compare(ONES, ONES, 'surgery', case='y')")
    document, status = run(suite, "-k", "not other", *workers)
    assert status == 3
    assert "deselected" in document.sentence()


def test_a_layer_that_was_not_run_keeps_it_from_green(suite: pytest.Pytester) -> None:
    Path(suite.path / "test_stft.py").unlink()
    document, status = run(suite)
    assert status == 3
    assert "layer stft" in document.sentence()


def test_a_run_without_faults_is_not_green(suite: pytest.Pytester) -> None:
    Path(suite.path / "test_faults.py").unlink()
    document, status = run(suite)
    assert status == 3
    assert "no known bug was injected" in document.sentence()


def test_a_fault_that_was_missed_is_red(suite: pytest.Pytester) -> None:
    text = FAULTS.replace("FaultOutcome.CAUGHT", "FaultOutcome.MISSED, reason='nobody saw it'")
    Path(suite.path / "test_faults.py").write_text(text, encoding="utf-8")
    document, status = run(suite)
    assert status == 1
    assert document.red == ("fault stems.order: missed: nobody saw it",)


def test_a_fault_that_was_skipped_leaves_a_gap(suite: pytest.Pytester) -> None:
    text = FAULTS + "\ndef test_x(parity):\n    pytest.skip('tired')"
    Path(suite.path / "test_faults.py").write_text(text, encoding="utf-8")
    document, status = run(suite)
    assert status == 3
    assert "test_faults.py::test_x was skipped: Skipped: tired" in document.gaps


def test_a_required_engine_that_executed_nothing_keeps_it_from_green(
    suite: pytest.Pytester,
) -> None:
    document, status = run(suite, "--engine", "coreml")
    assert status == 3
    assert "engine coreml" in document.sentence()


def test_an_exception_in_a_test_is_red(suite: pytest.Pytester) -> None:
    add(suite, "def test_x(parity):\n    raise RuntimeError('boom')")
    document, status = run(suite)
    assert status == 1
    assert "RuntimeError: boom" in document.red[0]


def test_a_suite_that_can_not_be_collected_is_red(suite: pytest.Pytester) -> None:
    add(suite, "import nowhere_to_be_found")
    document, status = run(suite)
    assert status == 1
    assert "could not be collected" in " ".join(document.red)


def test_a_dead_test_process_is_red(suite: pytest.Pytester) -> None:
    add(suite, "def test_x(parity):\n    import os\n    os._exit(9)")
    document, status = run(suite, "-n", "1")
    assert status == 1
    assert "test_x" in " ".join(document.red)


def test_numpy_numbers_cross_the_border_between_processes(suite: pytest.Pytester) -> None:
    add(
        suite,
        "def test_x(parity):\n"
        "    parity.bound(np.float32(0.5), 'audit', gating=False, what='number')\n"
        "    from harness.verdicts.rows.packages import Explanation, Step\n"
        "    parity.keep(Explanation((Step('why', 'so', ()),), ()))",
    )
    document, status = run(suite, "-n", "1")
    assert status == 0
    assert document.artefacts.explanation == (Explanation((Step("why", "so", ()),), ()),)


WAIVER = """[[waiver]]
check = "surgery/surgery/x"
reason = "known"
since = {today}
until = {today}
lowest_headroom_db = -inf
"""


def waive(suite: pytest.Pytester) -> None:
    """Accept the failure of surgery's case x."""
    today = datetime.now(timezone.utc).date().isoformat()
    Path(suite.path / "waivers.toml").write_text(WAIVER.format(today=today), encoding="utf-8")


def test_a_waived_failure_is_green_and_said(suite: pytest.Pytester) -> None:
    waive(suite)
    add(suite, "def test_bad(parity):\n    parity.compare(ONES, 2 * ONES, 'surgery', case='x')")
    document, status = run(suite, "--parity-waivers", "waivers.toml")
    assert status == 0
    assert "1 failed and is waived" in document.sentence()


def test_behind_a_waived_failure_the_same_test_judges_on(suite: pytest.Pytester) -> None:
    """Else one accepted failure hides whatever breaks later in the same test, and all is green."""
    waive(suite)
    add(
        suite,
        "def test_bad(parity):\n"
        "    parity.compare(ONES, 2 * ONES, 'surgery', case='x')\n"
        "    parity.compare(ONES, 3 * ONES, 'surgery', case='y')",
    )
    document, status = run(suite, "--parity-waivers", "waivers.toml")
    assert status == 1
    assert [reason.partition(":")[0] for reason in document.red] == ["surgery/surgery/y"]


def test_a_test_that_breaks_behind_a_waived_failure_is_red(suite: pytest.Pytester) -> None:
    waive(suite)
    add(
        suite,
        "def test_bad(parity):\n"
        "    parity.compare(ONES, 2 * ONES, 'surgery', case='x')\n"
        "    raise OSError('gone')",
    )
    document, status = run(suite, "--parity-waivers", "waivers.toml")
    assert status == 1
    assert any("OSError: gone" in reason for reason in document.red)


def test_waivers_that_can_not_be_read_stop_the_session(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess(
        "-p", "harness.pytest_plugin", "--parity-waivers", "nowhere.toml"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*nowhere.toml can't be read*"])


def test_documents_of_the_lab_are_taken_along(suite: pytest.Pytester) -> None:
    (suite.path / "lab.json").write_text(
        '{"kind": "sensitivity", "subject": "s", "precision": "fp16", "cases": [], '
        '"measures": ["stems"], "operations": []}',
        encoding="utf-8",
    )
    document, status = run(suite, "--parity-attach", "lab.json")
    assert status == 0
    (row,) = document.artefacts.sensitivity
    assert (row.name, row.measure) == ("lab.json", "stems")


def test_what_can_not_be_attached_stops_the_run_before_it_starts(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess(
        "-p", "harness.pytest_plugin", "--parity-attach", "nowhere.json", "-p", "no:cacheprovider"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*can't attach nowhere.json*"])
