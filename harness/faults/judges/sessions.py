"""pytest sessions in processes of their own, judged by the run that they write.

`judge_session` runs a small test session through the project's plugin, under the project's own
pytest configuration. `judge_by_suite` runs real suites of the project with a module patched.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import harness
from harness.errors import NotEvaluatedError
from harness.faults.judging import FaultJudgement, digest, outcome_of
from harness.faults.registry import NOTHING, Fault
from harness.places import INSTALLED, INVENTORY, PROJECT
from harness.verdicts import LAYERS, Outcome, Run, Verdict, failed
from harness.verdicts.completeness import Expectation, Expected
from harness.verdicts.inventory import inventory_text

SECONDS = 300
"""How long a session may take, many times what one needs on a machine of its own: what takes longer
hangs, and was not evaluated."""

_LAYER = """
import numpy as np
import pytest

pytestmark = pytest.mark.layer("{layer}")
ONES = np.ones(10, np.float32)

def test_sound(parity):
    parity.executed("torch")
    parity.executed("mil")
    parity.compare(ONES, ONES, "conversion", case="{layer}", subject="mini")

def test_sound_again(parity):
    parity.compare(ONES, ONES, "conversion", case="again", subject="mini")
"""

_FAULTS = """
import pytest
from harness.verdicts import FaultOutcome, InjectedFault

pytestmark = pytest.mark.layer("faults")

def test_caught(parity):
    parity.fault(InjectedFault("stems.order", "stems", "b", "s", "e", FaultOutcome.CAUGHT))
"""


def clone() -> Path:
    """Return the clone that this program runs from.

    Raises:
        NotEvaluatedError: it was installed without its suites.
    """
    if INSTALLED:
        raise NotEvaluatedError(
            "an installed package has no suites, and this bug is judged by the project's own "
            "tests; run this in a clone, with 'python -m pip install -e .[test]'"
        )
    return PROJECT


def _inventory() -> Expectation:
    """Return what the sound session looks at."""
    rows = [
        Expected(layer, "mini", case, kind="conversion", gating=1)
        for layer in LAYERS
        for case in (layer, "again")
    ]
    return Expectation(tuple(rows), ("stems.order",))


@dataclass(frozen=True)
class SessionFiles:
    """A test session in which every layer holds.

    Attributes:
        files: name to content.
        arguments: further words for pytest.
        environment: further variables.
    """

    files: Mapping[str, str] = field(
        default_factory=lambda: {
            **{f"test_{layer}.py": _LAYER.format(layer=layer) for layer in LAYERS},
            "test_faults.py": _FAULTS,
            str(INVENTORY): inventory_text(_inventory()),
        }
    )
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def judge_session(fault: Fault) -> Iterator[FaultJudgement]:
    """Judge a session; an injection gets the `SessionFiles` of a sound one and returns others."""
    session: SessionFiles = fault.inject(SessionFiles())
    with tempfile.TemporaryDirectory(prefix="parity-session-") as name:
        folder = Path(name)
        for file, content in session.files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(content, encoding="utf-8")
        words = ["-m", "pytest", "-p", "harness.pytest_plugin", "--subject", "mini"]
        words += ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]  # takes a second to load
        words += ["-c", str(PROJECT / "pyproject.toml"), "--rootdir", name]
        run = _run([*words, *session.arguments, name], folder, session.environment)
    outcome = outcome_of(run, "a green session")
    evidence = digest(" ".join(run.red + run.missing))
    yield FaultJudgement("run verdict", run.verdict.value, "session", outcome, evidence)


def judge_by_suite(fault: Fault) -> Iterator[FaultJudgement]:
    """Judge by the suite that ``fault.case`` names, in a process where the injection patches."""
    with tempfile.TemporaryDirectory(prefix="parity-suite-") as name:
        words = ["-m", "harness.faults.patched", fault.name, "-p", "no:cacheprovider", "-x"]
        run = _run([*words, *shlex.split(fault.case)], Path(name), {}, cwd=clone())
    if fault.name == NOTHING and run.problems:
        raise NotEvaluatedError(
            f"{fault.case} can't be run here, so no bug can be tried on it: {run.problems[0]}; "
            "the suites need 'python -m pip install -e .[test]'"
        )
    yield FaultJudgement(fault.caught_by, "suite", fault.case, _red(run), digest(" ".join(run.red)))


def _run(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], cwd: Path | None = None
) -> Run:
    """Run Python on ``words`` and return the run that pytest wrote."""
    out = folder / "out"
    paths = [
        str(Path(harness.__file__).parents[1]),
        *os.environ.get("PYTHONPATH", "").split(os.pathsep),
    ]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        **environment,
    }
    try:
        done = subprocess.run(
            [sys.executable, *words, "--parity-out", str(out), "-q", "--no-header"],
            cwd=cwd or folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise NotEvaluatedError(f"a test session did not end within {SECONDS} s") from error
    document = out / "run.json"
    if not document.is_file():
        lines = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        said = next((line for line in lines if "error: " in line), lines[-1])
        raise NotEvaluatedError(f"a test session wrote no run; it ended with: {said}")
    return Run.from_json(document.read_text(encoding="utf-8"))


def _red(run: Run) -> Outcome:
    """Return whether anything in the run is red; a part of the suites is never all of a run."""
    failing = [
        check.outcome
        for check in run.checks
        if check.gating and check.verdict is Verdict.FAIL and check.outcome.headroom_db is not None
    ]
    if failing:
        return failing[0]
    if run.red:
        return failed(run.red[0])
    return Outcome(Verdict.PASS, "nothing is red", "all tests pass", "all tests pass")
