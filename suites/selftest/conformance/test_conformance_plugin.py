"""What the plugin makes of tests that pass, fail, predict nothing, are waived, or die.

The tests inside write to the ledger what a model that runs through the bridge writes there.
"""

from __future__ import annotations

import json

import pytest

from harness.conformance import Conformance
from harness.conformance.results import CaseStatus

TESTS = """
import os
import pytest
from harness.errors import UnsupportedOperationError
from harness.mil.bridge.proxy import Loading
from harness.mil.bridge.plugin import LEDGER

@pytest.fixture
def predict(request):
    def predict(*operations, kind="mlProgram"):
        ledger = request.config.stash[LEDGER]
        ledger.loadings.append(Loading("p", kind, "", "ALL", frozenset(operations)))
        ledger.predictions += kind == "mlProgram"
    return predict

def test_good(predict):
    predict("relu", "cast")

@pytest.mark.parametrize("number", [1, 2, 3])
def test_wrong(predict, number):
    predict("tanh")
    assert number == 0, "numbers differ"

@pytest.mark.xfail(reason="Core ML fails here")
def test_wrong_on_a_mac_too(predict):
    predict("tanh")
    assert False

@pytest.mark.parametrize("backend", [("mlprogram", "fp16"), ("neuralnetwork", "fp32")], ids=str)
def test_backend(predict, backend):
    predict("exp")
    assert backend[0] == "mlprogram"

def test_network(predict):
    predict("exp", kind="neuralNetwork")
    assert False

def test_shapes_only():
    pass

def test_skipped_inside(predict):
    predict("relu")
    pytest.skip("not today")

class Stranger:
    @property
    def predict(self):
        raise UnsupportedOperationError("operation strange can't be written")

def test_not_exported(request):
    request.config.stash[LEDGER].execute(Stranger())

def test_deadly():
    os._exit(7)
"""

WAIVERS = """
"test_it.py::test_wrong[2]" = "known to be wrong"
"test_it.py::test_good" = "once failed"
"test_it.py::test_gone" = "does not exist any more"
"""


def session(pytester: pytest.Pytester, waivers: str, *arguments: str) -> tuple[Conformance, int]:
    (pytester.path / "waivers.toml").write_text(waivers, encoding="utf-8")
    pytester.makeini("[pytest]")
    words = ["-p", "harness.conformance.plugin", "-p", "no:cacheprovider", "--runxfail", "-n", "1"]
    words += ["--conformance-out", "out", "--conformance-waivers", "waivers.toml"]
    result = pytester.runpytest_subprocess(*words, *arguments)
    text = (pytester.path / "out" / "conformance.json").read_text(encoding="utf-8")
    assert json.loads(text)["kind"] == "conformance"
    assert (pytester.path / "out" / "conformance.md").read_text(encoding="utf-8").startswith("# ")
    return Conformance.from_json(text), int(result.ret)


def test_every_outcome_is_told_apart(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TESTS)
    found, status = session(pytester, WAIVERS)
    assert status == found.exit_code == 1
    assert found.counts == {
        "passed": 2,
        "failed": 4,
        "waived": 1,
        "converted_only": 1,
        "other_kind": 1,
        "refused": 1,
        "skipped": 1,
    }
    failures = {result.id.partition("::")[2]: result for result in found.failures}
    assert set(failures) == {
        "test_wrong[1]",
        "test_wrong[3]",
        "test_wrong_on_a_mac_too",
        "test_deadly",
    }
    assert "numbers differ" in failures["test_wrong[1]"].reason
    assert [(r.id, r.outcome, r.reason) for r in found.waived] == [
        ("test_it.py::test_wrong[2]", CaseStatus.WAIVED, "known to be wrong")
    ]
    assert {waiver.id for waiver in found.stale_waivers} == {
        "test_it.py::test_good",
        "test_it.py::test_gone",
    }
    assert any("died" in problem for problem in found.problems)
    rows = {row.operation: (row.passed, row.failed, row.waived) for row in found.operations}
    assert rows == {"cast": (1, 0, 0), "exp": (1, 0, 0), "relu": (1, 0, 0), "tanh": (0, 3, 1)}
    assert found.skipped == {"Skipped: not today": 1}
    assert found.other_kind == {"test_it.py::test_network": 1}
    assert found.refused == {"test_it.py::test_not_exported": 1}


@pytest.mark.exhaustive
def test_a_session_without_tests_is_not_evaluated(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_it=TESTS)
    found, status = session(pytester, "", "-k", "nothing_like_this")
    assert status == found.exit_code == 3
    assert (found.predictions, found.executed, found.red) == (0, 0, ())
