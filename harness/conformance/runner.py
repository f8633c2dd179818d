"""Starts the test session of a conformance run in processes of its own and reads its document.

There are two suites: coremltools' tests of operations, each a program of its own, and those of its
PyTorch front end, which convert a PyTorch model and compare with it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.atomic import recover_set
from harness.conformance.results import FILES, Conformance
from harness.conformance.waivers import ONNX_WAIVERS, WAIVERS
from harness.engines import availability
from harness.errors import EngineUnavailableError, RunError

_CONVERTERS = Path("converters", "mil")
# A worker for each core: threads that wait for each other would only get in its way.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000", "TQDM_DISABLE": "1"}


@dataclass(frozen=True)
class Suite:
    """Some of coremltools' tests.

    Attributes:
        folder: what test ids are relative to, inside coremltools.
        files: in the folder; ``.`` for all.
        waivers: the tests that may fail.
    """

    folder: Path
    files: str
    waivers: Path


SUITES: Final = {
    "operations": Suite(Path(_CONVERTERS, "mil", "ops", "tests"), ".", WAIVERS),
    "torch": Suite(
        Path(_CONVERTERS, "frontend", "torch", "test"),
        "test_torch_ops.py",
        WAIVERS.with_name("waivers_torch.toml"),
    ),
}


@dataclass(frozen=True)
class Selection:
    """Which tests to run.

    Attributes:
        per_function: so many tests of each test function; 0 for all.
        expression: a pytest ``-k`` expression over test names; empty for all.
        suite: name of one of `SUITES`.
        engine: what executes: one of `EXECUTORS`.
    """

    per_function: int = 0
    expression: str = ""
    suite: str = "operations"
    engine: str = "mil"


def run(out: Path, selection: Selection, *, workers: int = 0) -> Conformance:
    """Run a suite of coremltools' tests through the bridge; write and return the document.

    Progress goes to stderr.

    Args:
        out: gets ``conformance.json`` and ``conformance.md``.
        selection: which tests.
        workers: number of test processes; 0 for one on each core.

    Raises:
        EngineUnavailableError: the engine, pytest-xdist or coremltools' tests are not installed.
        RunError: the session broke off, so there is no document.
    """
    suite = SUITES[selection.suite]
    tests = tests_folder(suite)
    state = availability(selection.engine)
    if not state.available:
        raise EngineUnavailableError(f"the engine {selection.engine} can't execute: {state.reason}")
    document = out / FILES[0]
    recover_set(out)
    for name in FILES:  # those of an earlier run would outlive a session that breaks off
        (out / name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", str(tests / suite.files), *_options(tests, out)]
    waivers = suite.waivers if selection.engine == "mil" else ONNX_WAIVERS
    command += ["--conformance-engine", selection.engine, "--conformance-waivers", str(waivers)]
    command += ["-n", str(workers or _cores()), "--dist", "worksteal"]
    if selection.per_function:
        command += ["--conformance-sample", str(selection.per_function)]
    if selection.expression:
        command += ["-k", selection.expression]
    status = subprocess.run(
        command, stdout=sys.stderr.fileno(), env=os.environ | _ENVIRONMENT, check=False
    ).returncode
    if not document.exists():
        raise RunError(f"the test session broke off (pytest ended with {status}); see above")
    return Conformance.from_json(document.read_text(encoding="utf-8"))


def tests_folder(suite: Suite) -> Path:
    """Return where the tests of ``suite`` lie.

    Raises:
        EngineUnavailableError: they, or pytest-xdist, are not installed.
    """
    if importlib.util.find_spec("xdist") is None:
        raise EngineUnavailableError("conformance needs pytest-xdist: pip install pytest-xdist")
    specification = importlib.util.find_spec("coremltools")
    origin = specification.origin if specification is not None else None
    tests = Path(origin or "").parent / suite.folder
    if origin is None or not (tests / suite.files).exists():
        raise EngineUnavailableError(
            f"coremltools' tests are not installed ({tests}); install coremltools from its wheel"
        )
    return tests


def _options(tests: Path, out: Path) -> Sequence[str]:
    settings = Path(__file__).with_name("pytest.ini")
    return [
        *("-c", str(settings), "--rootdir", str(tests), "--confcutdir", str(tests)),
        *("-p", "harness.conformance.plugin", "--conformance-out", str(out.resolve())),
        "--runxfail",  # what Core ML is expected to fail at is no excuse for another executor
        *("-p", "no:cacheprovider", "-q", "--no-header", "--no-summary", "--tb=no"),
    ]


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # cores that this process may use: Linux
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
