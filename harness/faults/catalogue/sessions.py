"""Bugs of the harness: ways in which a run could be green without having looked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial

from harness.engines import WITHOUT_ENGINES
from harness.faults.judges.sessions import SessionFiles
from harness.faults.registry import OWN, TOOLS, fault, fields
from harness.places import INVENTORY

_session = partial(fault, judge="session", caught_by="run verdict", case="session")
_gate = partial(fault, judge="gates", caught_by="kill matrix", source=OWN)


def _with(session: SessionFiles, test: str) -> SessionFiles:
    """Return the session with one more test in the surgery layer."""
    return _rewritten(session, "test_surgery.py", session.files["test_surgery.py"] + "\n" + test)


def _comparing(session: SessionFiles, actual: str, mark: str = "", name: str = "x") -> SessionFiles:
    """Return the session with one more test, which compares ones with ``actual``."""
    compared = f"parity.compare(ONES, {actual}, 'surgery', case='{name}')"
    return _with(session, f"{mark}\ndef test_{name}(parity):\n    {compared}")


def _rewritten(session: SessionFiles, file: str, text: str) -> SessionFiles:
    return replace(session, files={**session.files, file: text})


def _replaced(session: SessionFiles, file: str, old: str, new: str) -> SessionFiles:
    """Return the session with a passage of one file written otherwise."""
    return _rewritten(session, file, session.files[file].replace(old, new))


def _without(session: SessionFiles, file: str) -> SessionFiles:
    return replace(session, files={k: v for k, v in session.files.items() if k != file})


_session("harness.test-skipped", source=TOOLS, sample=True)(
    lambda session: _with(session, "def test_x(parity):\n    pytest.skip('needs a Mac')"),
    "A test skips itself, as numerical tests do off macOS.",
)
_session("harness.test-expected-to-fail", source=OWN)(
    lambda session: _comparing(session, "2 * ONES", mark="@pytest.mark.xfail"),
    "A failing test is marked as expected to fail.",
)
_session("harness.unexpected-pass", source=OWN)(
    lambda session: _comparing(session, "ONES", mark="@pytest.mark.xfail"),
    "A test that is marked as expected to fail passes: nobody knows what it tests any more.",
)
_session("harness.test-deselected", source=OWN)(
    lambda session: replace(_comparing(session, "ONES", name="y"), arguments=("-k", "not test_y")),
    "A test is left out on the command line.",
)
_session("harness.nothing-compared", source=TOOLS, sample=True)(
    lambda session: _with(session, "def test_x(parity):\n    assert [] == []"),
    "A comparator returns an empty list: a test passes that compared nothing.",
)


def _waived(session: SessionFiles, check: str, compared: str, days: int) -> SessionFiles:
    """Return the session with a test that compares, and with a waiver that holds for so long."""
    since = datetime.now(timezone.utc).date() - timedelta(days=40)
    waiver = (
        f'[[waiver]]\ncheck = "{check}"\nreason = "known"\nsince = {since}\n'
        f"until = {since + timedelta(days=days)}\nlowest_headroom_db = -inf\n"
    )
    extra = _rewritten(_comparing(session, compared), "waivers.toml", waiver)
    return replace(extra, arguments=("--parity-waivers", "waivers.toml"))


_session("harness.waiver-by-pattern", source=OWN)(
    lambda session: _waived(session, "surgery/*", "2 * ONES", 80),
    "A waiver with a wildcard accepts every failure of a layer, also those of tomorrow.",
)
_session("harness.waiver-expired", source=OWN)(
    lambda session: _waived(session, "surgery/surgery/x", "2 * ONES", 39),
    "A failure was accepted for a while, and the while is over.",
)
_session("harness.waiver-stale", source=OWN)(
    lambda session: _waived(session, "surgery/surgery/x", "ONES", 80),
    "A waiver stays when its check passes again, and waits to hide the next failure.",
)
_session("harness.suite-empty", source=OWN)(
    lambda session: _without(session, "test_stft.py"),
    "A whole layer has no test.",
)


@_session("harness.test-deleted", source=OWN)
def _test_deleted(session: SessionFiles) -> SessionFiles:
    """One of a layer's tests is deleted: it can't report that it is missing."""
    text = session.files["test_surgery.py"].partition("\ndef test_sound_again")[0]
    return _rewritten(session, "test_surgery.py", text)


_session("harness.check-demoted", source=OWN)(
    lambda session: _replaced(session, "test_surgery.py", '"again",', '"again", gating=False,'),
    "A gating check is only measured any more: it may fail, and nothing turns red.",
)
_session("harness.tests-only-collected", source=OWN)(
    fields(environment={"PYTEST_ADDOPTS": "--collect-only"}),
    "The environment makes pytest collect its tests and run none of them; it ends with 0.",
)
_session("harness.inventory-gone", source=OWN)(
    lambda session: _without(session, str(INVENTORY)),
    "The list of what a complete run looks at is gone, so that any run is complete.",
)
_session("harness.suite-unreadable", source=OWN)(
    lambda session: _with(session, "import nowhere_to_be_found"),
    "A suite can't be imported, and its tests are not there.",
)
_session("harness.engine-missing", source=OWN)(
    fields(environment={WITHOUT_ENGINES: "mil"}),
    "A required engine is not on this machine.",
)


@_session("harness.engine-idle", source=OWN)
def _engine_idle(session: SessionFiles) -> SessionFiles:
    """A required engine executed nothing: the checks compared something else."""
    silent = {
        name: text.replace('    parity.executed("mil")\n', "")
        for name, text in session.files.items()
    }
    return replace(session, files=silent)


@_session("harness.worker-dead", source=OWN)
def _worker_dead(session: SessionFiles) -> SessionFiles:
    """A test process dies in the middle of its tests."""
    extra = _with(session, "def test_x(parity):\n    import os\n    os._exit(9)")
    return replace(extra, arguments=("-n", "1"))


@_session("harness.exception-swallowed", source=OWN)
def _exception_swallowed(session: SessionFiles) -> SessionFiles:
    """A failed comparison is caught by the test that made it."""
    body = "parity.compare(ONES, 2 * ONES, 'surgery', case='x')"
    return _with(
        session,
        f"def test_x(parity):\n    try:\n        {body}\n    except AssertionError:\n        pass",
    )


@_session("harness.two-checks-of-one-name", source=OWN)
def _two_checks(session: SessionFiles) -> SessionFiles:
    """Two checks have one identity, so that one hides the other."""
    body = "parity.compare(ONES, ONES, 'conversion', case='surgery', subject='mini')"
    return _with(session, f"def test_x(parity):\n    {body}")


_session("harness.fault-missed", source=OWN)(
    lambda session: _replaced(
        session, "test_faults.py", "FaultOutcome.CAUGHT", "FaultOutcome.MISSED"
    ),
    "A known bug passes, and the test that injected it goes on.",
)
_session("harness.faults-left-out", source=OWN)(
    lambda session: _without(session, "test_faults.py"),
    "No bug was injected at all, so nothing shows that one would be seen.",
)
_gate("harness.loosened-expected-precision", case="expected_precision_fp32:program.gelu-tanh")(
    fields(min_snr_db=60.0),
    "The FP32 gate asks for 60 dB instead of 110 dB: single defects hide under it.",
)
_gate("harness.loosened-prediction", case="expected_precision:precision.undeclared-fp16-in-mixed")(
    fields(at_least=-30.0),
    "A mixed package may be 30 dB worse than its recipe promises, instead of 3 dB.",
)
_gate("harness.loosened-end-to-end", case="end_to_end:stems.gain-hundredth-db", sample=True)(
    fields(min_snr_db=50.0),
    "The end-to-end gate asks for 50 dB instead of 60 dB.",
)
_gate("harness.loosened-surgery", case="surgery:surgery.group-norm-unbiased")(
    fields(rtol=1e-2, atol=1e-4),
    "The surgery gate is a thousand times wider.",
)
_gate("harness.loosened-stft", case="stft:stft.window-symmetric")(
    fields(rtol=1e-1, atol=1e-2),
    "The gate of the transform is ten thousand times wider.",
)
