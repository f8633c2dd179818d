"""Bugs of the harness: ways in which a run could be green without having looked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial

from harness.engines import WITHOUT_ENGINES
from harness.faults.judges.sessions import Session
from harness.faults.registry import OWN, TOOLS, fault
from harness.places import INVENTORY
from harness.verdicts import Gate

_session = partial(fault, on="session", caught_by="run verdict", case="session")
_gate = partial(fault, on="gates", caught_by="kill matrix", source=OWN)


def _with(session: Session, test: str, file: str = "test_surgery.py") -> Session:
    """Return the session with one more test in the surgery layer."""
    return replace(session, files={**session.files, file: session.files[file] + "\n" + test})


@_session("harness.test-skipped", source=TOOLS, sample=True)
def _test_skipped(session: Session) -> Session:
    """A test skips itself, as numerical tests do off macOS."""
    return _with(session, "def test_x(parity):\n    pytest.skip('needs a Mac')")


@_session("harness.test-expected-to-fail", source=OWN)
def _test_expected_to_fail(session: Session) -> Session:
    """A failing test is marked as expected to fail."""
    body = "parity.compare(ONES, 2 * ONES, 'surgery', case='x')"
    return _with(session, f"@pytest.mark.xfail\ndef test_x(parity):\n    {body}")


@_session("harness.unexpected-pass", source=OWN)
def _unexpected_pass(session: Session) -> Session:
    """A test that is marked as expected to fail passes: nobody knows what it tests any more."""
    body = "parity.compare(ONES, ONES, 'surgery', case='x')"
    return _with(session, f"@pytest.mark.xfail\ndef test_x(parity):\n    {body}")


@_session("harness.test-deselected", source=OWN)
def _test_deselected(session: Session) -> Session:
    """A test is left out on the command line."""
    extra = _with(
        session, "def test_y(parity):\n    parity.compare(ONES, ONES, 'surgery', case='y')"
    )
    return replace(extra, arguments=("-k", "not test_y"))


@_session("harness.nothing-compared", source=TOOLS, sample=True)
def _nothing_compared(session: Session) -> Session:
    """A comparator returns an empty list: a test passes that compared nothing."""
    return _with(session, "def test_x(parity):\n    assert [] == []")


def _waived(session: Session, check: str, compared: str, days: int) -> Session:
    """Return the session with a test that compares, and with a waiver that holds for so long."""
    since = datetime.now(timezone.utc).date() - timedelta(days=40)
    waiver = (
        f'[[waiver]]\ncheck = "{check}"\nreason = "known"\nsince = {since}\n'
        f"until = {since + timedelta(days=days)}\nlowest_headroom_db = -inf\n"
    )
    extra = _with(
        session, f"def test_x(parity):\n    parity.compare(ONES, {compared}, 'surgery', case='x')"
    )
    return replace(
        extra,
        files={**extra.files, "waivers.toml": waiver},
        arguments=("--parity-waivers", "waivers.toml"),
    )


@_session("harness.waiver-by-pattern", source=OWN)
def _waiver_by_pattern(session: Session) -> Session:
    """A waiver with a wildcard accepts every failure of a layer, also those of tomorrow."""
    return _waived(session, "surgery/*", "2 * ONES", 80)


@_session("harness.waiver-expired", source=OWN)
def _waiver_expired(session: Session) -> Session:
    """A failure was accepted for a while, and the while is over."""
    return _waived(session, "surgery/surgery/x", "2 * ONES", 39)


@_session("harness.waiver-stale", source=OWN)
def _waiver_stale(session: Session) -> Session:
    """A waiver stays when its check passes again, and waits to hide the next failure."""
    return _waived(session, "surgery/surgery/x", "ONES", 80)


@_session("harness.suite-empty", source=OWN)
def _suite_empty(session: Session) -> Session:
    """A whole layer has no test."""
    kept = {name: text for name, text in session.files.items() if name != "test_stft.py"}
    return replace(session, files=kept)


@_session("harness.test-deleted", source=OWN)
def _test_deleted(session: Session) -> Session:
    """One of a layer's tests is deleted: it can't report that it is missing."""
    text = session.files["test_surgery.py"].partition("\ndef test_sound_again")[0]
    return replace(session, files={**session.files, "test_surgery.py": text})


@_session("harness.check-demoted", source=OWN)
def _check_demoted(session: Session) -> Session:
    """A gating check is only measured any more: it may fail, and nothing turns red."""
    text = session.files["test_surgery.py"].replace('"again",', '"again", gating=False,')
    return replace(session, files={**session.files, "test_surgery.py": text})


@_session("harness.tests-only-collected", source=OWN)
def _tests_only_collected(session: Session) -> Session:
    """The environment makes pytest collect its tests and run none of them; it ends with 0."""
    return replace(session, environment={"PYTEST_ADDOPTS": "--collect-only"})


@_session("harness.inventory-gone", source=OWN)
def _inventory_gone(session: Session) -> Session:
    """The list of what a complete run looks at is gone, so that any run is complete."""
    kept = {name: text for name, text in session.files.items() if name != str(INVENTORY)}
    return replace(session, files=kept)


@_session("harness.suite-unreadable", source=OWN)
def _suite_unreadable(session: Session) -> Session:
    """A suite can't be imported, and its tests are not there."""
    return _with(session, "import nowhere_to_be_found")


@_session("harness.engine-missing", source=OWN)
def _engine_missing(session: Session) -> Session:
    """A required engine is not on this machine."""
    return replace(session, environment={WITHOUT_ENGINES: "mil"})


@_session("harness.engine-idle", source=OWN)
def _engine_idle(session: Session) -> Session:
    """A required engine executed nothing: the checks compared something else."""
    silent = {
        name: text.replace('    parity.executed("mil")\n', "")
        for name, text in session.files.items()
    }
    return replace(session, files=silent)


@_session("harness.worker-dead", source=OWN)
def _worker_dead(session: Session) -> Session:
    """A test process dies in the middle of its tests."""
    extra = _with(session, "def test_x(parity):\n    import os\n    os._exit(9)")
    return replace(extra, arguments=("-n", "1"))


@_session("harness.exception-swallowed", source=OWN)
def _exception_swallowed(session: Session) -> Session:
    """A failed comparison is caught by the test that made it."""
    body = "parity.compare(ONES, 2 * ONES, 'surgery', case='x')"
    return _with(
        session,
        f"def test_x(parity):\n    try:\n        {body}\n    except AssertionError:\n        pass",
    )


@_session("harness.two-checks-of-one-name", source=OWN)
def _two_checks(session: Session) -> Session:
    """Two checks have one identity, so that one hides the other."""
    body = "parity.compare(ONES, ONES, 'conversion', case='surgery', subject='mini')"
    return _with(session, f"def test_x(parity):\n    {body}")


@_session("harness.fault-missed", source=OWN)
def _fault_missed(session: Session) -> Session:
    """A known bug passes, and the test that injected it goes on."""
    text = session.files["test_faults.py"].replace("FaultOutcome.CAUGHT", "FaultOutcome.MISSED")
    return replace(session, files={**session.files, "test_faults.py": text})


@_session("harness.faults-left-out", source=OWN)
def _faults_left_out(session: Session) -> Session:
    """No bug was injected at all, so nothing shows that one would be seen."""
    kept = {name: text for name, text in session.files.items() if name != "test_faults.py"}
    return replace(session, files=kept)


@_gate("harness.loosened-expected-precision", case="expected_precision_fp32:program.gelu-tanh")
def _loosened_expected_precision(gate: Gate) -> Gate:
    """The FP32 gate asks for 60 dB in the place of 110 dB: single defects hide under it."""
    return replace(gate, min_snr_db=60.0)


@_gate("harness.loosened-prediction", case="expected_precision:precision.undeclared-fp16-in-mixed")
def _loosened_prediction(gate: Gate) -> Gate:
    """A mixed package may be 30 dB worse than its recipe promises, in the place of 3 dB."""
    return replace(gate, at_least=-30.0)


@_gate("harness.loosened-end-to-end", case="end_to_end:stems.gain-hundredth-db", sample=True)
def _loosened_end_to_end(gate: Gate) -> Gate:
    """The end-to-end gate asks for 50 dB in the place of 60 dB."""
    return replace(gate, min_snr_db=50.0)


@_gate("harness.loosened-surgery", case="surgery:surgery.group-norm-unbiased")
def _loosened_surgery(gate: Gate) -> Gate:
    """The surgery gate is a thousand times wider."""
    return replace(gate, rtol=1e-2, atol=1e-4)


@_gate("harness.loosened-stft", case="stft:stft.window-symmetric")
def _loosened_stft(gate: Gate) -> Gate:
    """The gate of the transform is ten thousand times wider."""
    return replace(gate, rtol=1e-1, atol=1e-2)
