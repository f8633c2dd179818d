"""What a conformance document says of its results, its waivers and itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.app import main
from harness.conformance import Conformance, Selection, run, runner
from harness.conformance.results import CaseResult, CaseStatus, summarise
from harness.conformance.runner import SUITES, Suite
from harness.conformance.selection import backend_of, sample
from harness.conformance.table import to_markdown
from harness.conformance.waivers import read_waivers
from harness.errors import EngineUnavailableError, RunError
from harness.verdicts import Verdict
from harness.verdicts.rows import documents

PASSED = CaseResult("a.py::test[x]", CaseStatus.PASSED, ("cast", "relu"), 2)
FAILED = CaseResult("a.py::test[y]", CaseStatus.FAILED, ("relu",), 1, "Not equal | to tolerance")
WAIVED = CaseResult("b.py::test", CaseStatus.WAIVED, ("random_normal",), 1, "draws random numbers")
CONVERTED = CaseResult("b.py::test_shape[1]", CaseStatus.CONVERTED_ONLY, ("relu",))
SKIPPED = CaseResult("c.py::test", CaseStatus.SKIPPED, (), 0, "Skipped: needs TensorFlow")


def document(*results: CaseResult, **more: object) -> Conformance:
    return summarise(results, selection="every test", collected=9, **more)


def test_rows_count_executed_tests_by_operation() -> None:
    rows = document(PASSED, FAILED, WAIVED, CONVERTED, SKIPPED).operations
    assert rows == (
        documents.TestedRow("cast", 1, 0, 0),
        documents.TestedRow("random_normal", 0, 0, 1),
        documents.TestedRow("relu", 1, 1, 0),
    )


def test_a_run_in_which_everything_passed_or_is_waived_passes() -> None:
    found = document(PASSED, WAIVED, CONVERTED, SKIPPED)
    assert (found.verdict, found.exit_code) == (Verdict.PASS, 0)
    assert found.sentence() == "PASS: 1 of 2 executed tests passed, 1 waived; 3 predictions."


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (document(PASSED, FAILED), "a.py::test[y]"),
        (
            document(PASSED, stale_waivers=(documents.ListedRow("d", "does not exist"),)),
            "stale waiver d",
        ),
        (document(PASSED, problems=("a test process died",)), "a test process died"),
    ],
)
def test_each_defect_alone_turns_a_run_red(found: Conformance, reason: str) -> None:
    assert (found.verdict, found.exit_code) == (Verdict.FAIL, 1)
    assert reason in found.sentence()


@pytest.mark.parametrize("results", [(), (CONVERTED, SKIPPED)])
def test_a_run_without_a_prediction_is_not_evaluated(results: tuple[CaseResult, ...]) -> None:
    found = document(*results)
    assert (found.verdict, found.exit_code) == (Verdict.NOT_EVALUATED, 3)


def test_a_document_survives_the_way_to_json_and_back() -> None:
    found = document(
        PASSED,
        FAILED,
        WAIVED,
        CONVERTED,
        SKIPPED,
        stale_waivers=(documents.ListedRow("d", "does not exist"),),
        problems=("a test process died",),
        provenance={"commit": "abc"},
        duration_s=1.5,
    )
    assert Conformance.from_json(found.to_json()) == found
    assert Conformance.from_json(found.to_json()).to_json() == found.to_json()


def test_a_verdict_in_the_file_is_not_trusted() -> None:
    content = json.loads(document(FAILED).to_json()) | {"verdict": "pass"}
    assert Conformance.from_json(json.dumps(content)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"kind": "run", "version": 1}',
        '{"kind": "conformance", "version": 2}',
        '{"kind": "conformance", "version": 1}',
    ],
)
def test_another_document_is_one_clear_error(text: str) -> None:
    with pytest.raises(RunError, match=r"conformance document|of kind 'conformance'"):
        Conformance.from_json(text)


def test_the_page_names_what_did_not_pass() -> None:
    page = to_markdown(document(PASSED, FAILED, WAIVED, CONVERTED, SKIPPED))
    assert "| `relu` | 1 | 1 | 0 |" in page
    assert "- `a.py::test[y]`: Not equal \\| to tolerance" in page
    assert "- `b.py::test`: draws random numbers" in page
    assert "| b.py::test_shape | 1 |" in page
    assert page.index("`relu`") < page.index("`cast`")  # failures first


def test_a_sample_touches_every_function_and_grows_by_adding() -> None:
    ids = [f"a.py::test_{name}[{value}]" for name in "pq" for value in range(9)] + ["a.py::test_r"]
    one, three = sample(ids, 1), sample(reversed(ids), 3)
    assert len(one) == 3
    assert len(three) == 7
    assert one < three
    assert sample([*ids, "a.py::test_s"], 1) == one | {"a.py::test_s"}


def test_tests_of_other_backends_are_left_out() -> None:
    assert backend_of({"backend": ("mlprogram", "fp16")}) == "mlprogram"
    assert backend_of({"rank": 3}) is None
    assert backend_of({"backend": ("neuralnetwork", "fp32")}) == "neuralnetwork"


@pytest.mark.parametrize(
    "text", ['"a.py::test" = ""', '"a.py::test" = 1', "[[", '"a" = "b"\n"a" = "c"']
)
def test_a_waiver_without_a_reason_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "waivers.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=r"waivers\.toml"):
        read_waivers(tmp_path / "waivers.toml")


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_every_waiver_names_one_test(suite: Suite) -> None:
    names = read_waivers(suite.waivers)
    assert all("::" in name and "*" not in name for name in names)


@pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)
def test_the_tests_of_each_suite_are_found(suite: Suite) -> None:
    assert list((runner.tests_folder(suite) / suite.files).parent.rglob("test_*.py"))


def test_an_unknown_engine_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--engine", "torch"]) == 2
    assert "unknown engine 'torch' (known: mil, onnx)" in capsys.readouterr().err


def test_an_unknown_front_end_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conformance", "--front-end", "jax"]) == 2
    assert "unknown front end 'jax' (known: torch)" in capsys.readouterr().err


def test_a_missing_runner_is_not_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineUnavailableError, match="pip install pytest-xdist"):
        run(tmp_path, Selection())
    assert list(tmp_path.iterdir()) == []
