"""A cancelled job and a closed terminal end a command as Ctrl-C does: nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import harness.report
from harness.cli import main
from harness.report import write_report
from harness.verdicts import Profile, Run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

RUN = Run(Profile("example", layers=(), engines=()), ())
AT_A_RENAME = """
import os, signal, sys
from harness.cli import main
left = 3
def hook(event, arguments):
    global left
    left -= event == "os.rename"
    if left == 0:
        left = -1
        os.kill(os.getpid(), signal.SIGTERM)
sys.addaudithook(hook)
sys.exit(main(sys.argv[1:]))
"""


def test_a_signal_while_a_report_is_written_leaves_the_old_one(tmp_path: Path) -> None:
    """At the rename, with links in the folder: the set must be whole when the command has ended."""
    (tmp_path / "run.json").write_text(
        Run(RUN.profile, (), problems=("red",)).to_json(), encoding="utf-8"
    )
    out = tmp_path / "out"
    write_report(RUN, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    command = [sys.executable, "-c", AT_A_RENAME]
    command += ["report", str(tmp_path / "run.json"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path.cwd(), check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (143, False)
    told = " ".join(done.stderr.split())
    assert "error: ended by SIGTERM; nothing was left half-written" in told
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_command_that_is_cancelled_removes_its_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build server fills up with the halves of a hundred cancelled jobs."""
    folders: list[Path] = []

    def work(*_: object) -> Path:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            folders.append(Path(folder))
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("the command went on")

    monkeypatch.setattr(harness.report, "write_report", work)
    (tmp_path / "run.json").write_text(RUN.to_json(), encoding="utf-8")
    where = ["--out", str(tmp_path / "out"), "--baseline", "none", "--history", "none"]
    assert main(["report", str(tmp_path / "run.json"), *where, "--json"]) == 143
    told = json.loads(capsys.readouterr().out)
    assert told == {"error": "ended by SIGTERM; nothing was left half-written", "exit_code": 143}
    assert [folder.exists() for folder in folders] == [False]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 130 alone does not say whether a half of something was left."""

    def work(*_: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(harness.report, "write_report", work)
    (tmp_path / "run.json").write_text(RUN.to_json(), encoding="utf-8")
    where = ["--out", str(tmp_path / "out"), "--baseline", "none", "--history", "none"]
    assert main(["report", str(tmp_path / "run.json"), *where]) == 130
    assert "interrupted; nothing was left half-written" in capsys.readouterr().err


def test_who_ignores_a_signal_goes_on_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``nohup parity ...`` is there so that a closed terminal does not end it."""
    (tmp_path / "run.json").write_text(RUN.to_json(), encoding="utf-8")
    where = ["--out", str(tmp_path / "out"), "--baseline", "none", "--history", "none"]

    def work(*words: object) -> Path:
        os.kill(os.getpid(), signal.SIGHUP)
        return tmp_path

    monkeypatch.setattr(harness.report, "write_report", work)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["report", str(tmp_path / "run.json"), *where]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert str(tmp_path) in capsys.readouterr().out
