"""A linter reads strangers' packages: whatever is in them, it answers or says what is broken."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ParityError
from harness.lint import LintFinding, lint_package, opset_violations
from harness.mil.package import open_package
from suites.selftest.lint.building import Made
from suites.selftest.lint.examples import EXAMPLES, X
from suites.selftest.lint.test_lint_places import branch_in_a_loop
from suites.selftest.mil.conftest import MODEL, rewrite_model
from suites.selftest.readers.program_edits import edit_program

LINTED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """What each rule finds, and a branch in a loop: where a mutation is near to a rule."""
    folder = tmp_path_factory.mktemp("wrong")
    made = {name: wrong for name, (wrong, _) in EXAMPLES.items()} | {
        "branches": Made(branch_in_a_loop, X)
    }
    return [wrong.write(folder / f"{name}.mlpackage") for name, wrong in made.items()]


@LINTED
@given(number=st.integers(0, 10**6), seed=st.integers(0, 10**9))
def test_a_broken_program_gets_findings_or_a_sentence(packages, number, seed):
    path = packages[number % len(packages)]
    sound = (path / MODEL).read_bytes()
    refusal = ""
    try:
        rewrite_model(path, lambda message: edit_program(message, random.Random(seed)))
        found = lint_package(path)
        assert set(opset_violations(open_package(path).program)) <= set(found)
        assert all(isinstance(finding, LintFinding) for finding in found)
    except ParityError as error:
        refusal = str(error)
    finally:
        (path / MODEL).write_bytes(sound)
    assert len(refusal) < 500
