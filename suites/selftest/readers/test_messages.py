"""What an error or a table shows of a stranger's names: printable, short, and read as no markup."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness.cli import main
from harness.errors import MESSAGE_LENGTH, ParityError, UnknownNameError, one_line
from harness.mil import timing
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import make_program
from suites.selftest.readers.trials import judged

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=700)  # surrogates, too


@given(ANY_TEXT)
def test_every_message_is_one_printable_line(text):
    said = str(ParityError(f"{text}; do something else"))
    judged(said)
    assert said.endswith("; do something else")


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=MESSAGE_LENGTH))
def test_what_can_be_printed_is_left_as_it_is(text):
    assert one_line(text) == text


def test_a_message_keeps_its_beginning_and_its_end():
    said = str(ParityError(f"a name {'x' * 100_000_000} of {'y' * 1000}, expected less"))
    assert said.startswith("a name xxx")
    assert said.endswith("yyy, expected less")
    assert len(judged(said)) == MESSAGE_LENGTH


def test_unknown_names_of_any_length_are_compared_in_no_time():
    known = [f"name_{number}" for number in range(5000)]
    said = judged(str(UnknownNameError("tap", "name_17" + "x" * 10_000_000, known)))
    assert "5000 names: name_0, " in said
    assert "did you mean 'name_17'?" in str(UnknownNameError("tap", "nam_17", known))


NAMES = ["\udcff.wav", "[/]", "[red]", ":smile:", "\x1b[2J", "ü"]
PRINTED = """
import sys
from harness.cli.console import escape_what_cannot_be_printed, log, out, print_json, print_table
names = {names}
escape_what_cannot_be_printed()
print_table("[/] \\udcff", ("name",), [(name,) for name in names])
for name in names:
    log.print("[/]" + name)
print("=== JSON", flush=True)
print_json(dict.fromkeys(names, names))
"""


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_name_can_be_printed(encoding):
    """As a table on stdout, on stderr, and as JSON that reads back, whatever the terminal takes."""
    done = subprocess.run(
        [sys.executable, "-c", PRINTED.format(names=ascii(NAMES))],
        capture_output=True,
        env={"PYTHONIOENCODING": encoding, "PYTHONPATH": ":".join(sys.path), "COLUMNS": "80"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    table, _, document = done.stdout.decode(encoding).partition("=== JSON")
    for shown in ("\\udcff.wav", "[/]", "[red]", ":smile:", "\\x1b[2J"):
        assert shown in table
    assert json.loads(document) == dict.fromkeys(NAMES, NAMES)
    assert b"[/][red]" in done.stderr


def test_a_command_names_a_file_whose_name_is_not_utf_8(tmp_path, capsys):
    save_file({"x": np.ones(3, np.float32)}, tmp_path / "x.safetensors")
    odd = (tmp_path / "x.safetensors").rename(tmp_path / "\udcff.safetensors")
    assert main(["compare", str(odd), str(odd)]) == 0
    assert main(["predict", str(odd), "--inputs", str(odd), "--stats"]) == 2
    assert "\\udcff.safetensors is a file" in capsys.readouterr().err


def test_a_command_ends_a_loop_that_has_no_end(tmp_path, capsys, monkeypatch):
    def body(mb, x):
        return mb.while_loop(
            _cond=lambda v: mb.greater(x=mb.reduce_sum(x=v), y=np.float32(0)),
            _body=lambda v: mb.identity(x=v),
            loop_vars=(x,),
            name="endless",
        )

    package = write_package(
        make_program(body, {"x": (2,)}, np.float32), tmp_path / "endless.mlpackage"
    )
    save_file({"x": np.ones(2, np.float32)}, tmp_path / "in.safetensors")
    seconds = iter(range(10**9))
    monkeypatch.setattr(timing.time, "monotonic", lambda: float(next(seconds)))
    words = ["predict", str(package), "--inputs", str(tmp_path / "in.safetensors")]
    assert main([*words, "--out", str(tmp_path / "out.npz"), "--time-limit", "50"]) == 2
    said = capsys.readouterr().err
    assert "the time limit of 50 s is over: stopped inside operation while_loop 'endless'" in said
    assert "(round 16)" in said
    assert not (tmp_path / "out.npz").exists()
    assert main([*words, "--stats", "--time-limit", "-1"]) == 2
    assert "expected a positive number of seconds" in capsys.readouterr().err
