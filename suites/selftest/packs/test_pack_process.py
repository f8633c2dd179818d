"""A command as an engine: time, output and children are bounded, its exit code counts."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from harness.cli import main
from harness.packs import Pack, ProcessError, execute, question_copy

HONEST = """
import sys, pathlib
from safetensors.numpy import load_file, save_file
pack, out = map(pathlib.Path, sys.argv[1:])
print(sorted(path.name for path in pack.iterdir()), file=sys.stderr)
save_file(load_file({answers!r}), out / "all.safetensors", {{"made by": "somebody else"}})
"""


def python(body: str, *places: str) -> str:
    return shlex.join([sys.executable, "-c", body, *(places or ("{pack}", "{out}"))])


def honest(pack: Pack, more: str = "") -> str:
    """A reader that knows the answers from elsewhere."""
    return python(HONEST.format(answers=str(pack.folder / "expected.safetensors")) + more)


def test_a_command_is_judged_as_an_engine(
    dsp: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pack", "run", str(dsp.folder), "--command", honest(dsp), "--json"]
    assert main([*words, "--out", str(tmp_path / "kept"), "--report", str(tmp_path / "page")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "pass"
    assert document["process"]["exit_code"] == 0
    assert (tmp_path / "kept" / "all.safetensors").exists()
    run = json.loads((tmp_path / "page" / "run.json").read_text("utf-8"))
    assert run["profile"]["engines"] == ["process"]
    assert run["engines"][0]["executed"] is True
    # It is run without the answers: a reader can't pass by reading them back.
    assert "given.safetensors" in run["provenance"]["stderr"]
    assert "expected.safetensors" not in run["provenance"]["stderr"]


def test_an_exit_code_is_honoured_even_if_every_result_is_right(
    dsp: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = honest(dsp, "print('lost the device', file=sys.stderr)\nsys.exit(7)")
    assert main(["pack", "run", str(dsp.folder), "--command", command]) == 1
    shown = capsys.readouterr()
    assert "exit code 7: lost the device" in shown.out
    assert "stderr: lost the device" in shown.err


def test_a_command_that_writes_nothing_is_not_evaluated(dsp: Pack) -> None:
    assert main(["pack", "run", str(dsp.folder), "--command", python("")]) == 3


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


SPAWNING = """
import subprocess, sys, time, pathlib
for new_session in (False, True):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                             start_new_session=new_session)
    with open({pids!r}, "a") as file:
        print(child.pid, file=file)
print("waiting for the GPU", file=sys.stderr, flush=True)
{then}
"""


@pytest.mark.parametrize("hangs", [True, False])
def test_whatever_it_started_ends_with_it(
    hangs: bool, dsp: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that left the group, and also after a command that ended by itself."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("not evaluated: without /proc, a process that leaves its group is not found")
    pids = tmp_path / "pids"
    body = SPAWNING.format(pids=str(pids), then="time.sleep(600)" if hangs else "")
    words = ["pack", "run", str(dsp.folder), "--command", python(body), "--timeout", "2"]
    assert main(words) == (2 if hangs else 3)
    if hangs:
        shown = capsys.readouterr().err
        assert "did not end within 2 s" in shown
        assert "stderr: waiting for the GPU" in shown
    children = [int(line) for line in pids.read_text().split()]
    assert len(children) == 2
    deadline = time.monotonic() + 10
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in children if alive(pid)] == []


FLOODS = {
    "stdout": "while True: print('x' * 1000000)",
    "stderr": "import sys\nwhile True: sys.stderr.write('x' * 1000000)",
    "results": "import sys\nwith open(sys.argv[2] + '/big', 'wb') as f:\n"
    " while True: f.write(bytes(1000000))",
}


@pytest.mark.parametrize("where", FLOODS)
def test_a_flood_is_ended(where: str, dsp: Pack, tmp_path: Path) -> None:
    """Memory and disk are the user's: a reader in a loop must not take them."""
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    out.mkdir()
    question_copy(dsp, given)
    with pytest.raises(ProcessError, match="floods"):
        execute(python(FLOODS[where]), dsp, given, out, 60.0)
    assert sum(path.stat().st_size for path in out.iterdir()) < 4 << 30


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("reader {pack}", "{out}"),
        ("reader {out}", "{pack}"),
        ("'unclosed {pack} {out}", "split"),
        ("/absent/reader {pack} {out}", "can't be run"),
    ],
)
def test_a_command_that_cannot_be_run_is_bad_input(
    command: str, words: str, dsp: Pack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", "run", str(dsp.folder), "--command", command]) == 2
    assert words in capsys.readouterr().err


def test_a_run_that_breaks_off_keeps_earlier_results(
    dsp: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    words = ["pack", "run", str(dsp.folder), "--out", str(kept), "--command"]
    assert main([*words, honest(dsp)]) == 0
    assert main([*words, python("import time; time.sleep(60)"), "--timeout", "0.5"]) == 2
    assert "did not end within 0.5 s" in capsys.readouterr().err
    assert (kept / "all.safetensors").exists()


ODD = """
import os, sys
for name in ("log of the run.txt", "two\\nlines", "\u00e9t\u00e9", "deep/er/.hidden"):
    path = os.path.join(sys.argv[2], name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").close()
"""


def test_results_are_replaced_by_the_next_run_whatever_their_names(
    dsp: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were refused for ever: each try of a reader wanted a new folder, or 'rm -r' before it.

    Only what a run left there is replaced; what somebody put beside it is named, and stays.
    """
    kept = tmp_path / "kept"
    words = ["pack", "run", str(dsp.folder), "--out", str(kept), "--command"]
    assert main([*words, python(ODD)]) == 3
    assert sum(path.is_file() for path in kept.rglob("*")) == 5  # and the list of them
    assert main([*words, honest(dsp)]) == 0
    assert {path.name for path in kept.iterdir()} == {"all.safetensors", "parity-results.txt"}
    assert main(["compare", str(dsp.folder), str(kept)]) == 0
    (kept / "from_my_mac.safetensors").write_bytes(b"mine")
    capsys.readouterr()
    assert main([*words, honest(dsp)]) == 2
    assert "from_my_mac.safetensors, which would be lost" in capsys.readouterr().err
    assert (kept / "from_my_mac.safetensors").read_bytes() == b"mine"


def test_a_timeout_that_is_no_time_is_bad_input(dsp: Pack) -> None:
    words = ["pack", "run", str(dsp.folder), "--command", python(""), "--timeout"]
    for timeout in ("nan", "0", "-1"):
        assert main([*words, timeout]) == 2
