"""If these fail, both processes of a run execute the same packages; it takes half as long again."""

from __future__ import annotations

import json

import pytest

from suites.conftest import work_unit

SUBJECTS = ("mini", "htdemucs_6s@seeded", "htdemucs@/my-own/model.th")
SUITE = """
import os
import pytest
pytestmark = pytest.mark.layer("surgery")
ROWS = [(s, c) for s in ("mini", "htdemucs_6s@seeded") for c in ("quiet", "noise", "song", "hot")]

@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize(("subject", "case"), ROWS, ids=["-".join(row) for row in ROWS])
def test_it(parity, subject, case, number):
    what = f"{number} {os.environ['PYTEST_XDIST_WORKER']}"
    parity.bound(99.0, "worst_tap", gating=False, subject=subject, case=case, what=what)
"""


def test_what_shares_a_prediction_is_worked_on_by_one_process(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from suites.conftest import pytest_xdist_make_scheduler")
    pytester.makeini("[pytest]")
    pytester.makepyfile(test_it=SUITE)
    words = ["-p", "harness.pytest_plugin", "-p", "no:cacheprovider", "--parity-out", "out"]
    words += ["-n", "2", "--dist", "loadscope"]
    pytester.runpytest_subprocess(*words, "--no-loadscope-reorder")
    run = json.loads((pytester.path / "out" / "run.json").read_text("utf-8"))
    made = [check["labels"] for check in run["checks"] if "case" in check["labels"]]
    assert len(made) == 48
    workers: dict[tuple[str, str], set[str]] = {}
    for labels in made:
        worker = labels["what"].partition(" ")[2]
        workers.setdefault((labels["subject"], labels["case"]), set()).add(worker)
    assert [len(who) for who in workers.values()] == [1] * 8
    assert set().union(*workers.values()) == {"gw0", "gw1"}


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("a/test_b.py::test_c[mini-song-fp32-mil]", "mini song"),
        ("a/test_b.py::test_c[mini-fp32]", "mini fp32"),
        ("a/test_b.py::test_c[htdemucs_6s@seeded-song]", "htdemucs_6s@seeded song"),
        ("a/test_b.py::test_c[htdemucs@/my-own/model.th-hot]", "htdemucs@/my-own/model.th hot"),
        ("a/test_b.py::test_c[minimum-x]", "a/test_b.py::test_c[minimum-x]"),
        ("a/test_b.py::test_c", "a/test_b.py::test_c"),
        ("a/test_b.py::test_c[weights.bias-dropped]", "control program song"),
        ("a/test_b.py::test_c[precision.fp16-accumulation]", "control program song"),
        ("a/test_b.py::test_c[precision.epsilon-becomes-zero]", "control program silence"),
    ],
)
def test_a_unit_is_a_subject_with_a_case(nodeid: str, unit: str) -> None:
    assert work_unit(nodeid, SUBJECTS) == unit
