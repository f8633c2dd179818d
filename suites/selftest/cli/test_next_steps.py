"""What commands and pages tell somebody to type: if these fail, it is refused when it is typed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from harness.cli.app import app, main
from harness.diagnosis import explain
from harness.diagnosis.next_steps import NextSteps, counterpart_of
from harness.errors import ParityError
from harness.verdicts import GATES, Check, GoldenState, Profile, Run, failed, gate
from harness.workbench import Workbench

ROOT = Path(__file__).parents[3]
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


@cache
def program() -> Any:
    """Return the commands, which take a while to be made."""
    return typer.main.get_command(app)


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command with its words."""
    inner = getattr(command, "commands", {})
    yield path, command
    for name, each in inner.items():
        yield from leaves(each, f"{path} {name}".strip())


def parse(words: list[str]) -> None:
    """Read the command line as the program does, and run nothing.

    Raises:
        _UsageError, ParityError: it would be refused.
    """
    command = program()
    while hasattr(command, "commands"):
        named = words[0] in command.commands  # else it is a group with a command by default
        command = command.commands[words[0] if named else "run"]
        words = words[1:] if named else words
    command.make_context(command.name, list(words))


def examples() -> list[str]:
    """Return every example of ``--help``."""
    found = []
    for _, command in leaves(program()):
        text = (command.epilog or "").partition("xample")[2].partition(":")[2]
        found += re.split(r" \| |; |(?<=[a-z0-9/'])\. ", text)
    return [line.strip().rstrip(".") for line in found if line.strip().startswith("parity ")]


def documented() -> list[str]:
    """Return the commands in the code blocks of README and docs."""
    lines = []
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"^```[a-z]*\n(.*?)^```", file.read_text(), re.M | re.S):
            whole = block.replace("\\\n", " ")
            lines += [re.split(" #|   ", line.strip())[0].strip() for line in whole.splitlines()]
    named = [line.removeprefix("$ ") for line in lines]
    return [line for line in named if line.startswith("parity ") and "..." not in line]


@pytest.mark.parametrize("collect", [examples, documented])
def test_every_example_is_taken_as_it_is_printed(
    collect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = collect()
    assert len(commands) > 30
    refused = []
    for command in commands:
        try:
            parse(shlex.split(re.split(r" (?:&&|\|) ", command)[0])[1:])
        except (_UsageError, ParityError) as error:
            refused.append(f"{command}: {error}")
    assert not refused


@pytest.mark.parametrize("make", ["pack build dsp", "kit"])
def test_what_is_suggested_after_work_takes_the_name_that_was_given(
    make: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with a space in its name was two words of the command that was to be copied."""
    folder = tmp_path / "my päck's one"
    assert main([*make.split(), "--out", str(folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    words = shlex.split("parity" + said.rpartition(": parity")[2])
    parse(words[1:])
    assert any(Path(word) in (folder, folder / "capture-CPU_AND_NE.safetensors") for word in words)


def test_no_message_puts_a_name_into_a_command_unquoted() -> None:
    """Whoever copies it with a space in the name runs another command; `command_line` quotes."""
    unquoted = re.compile(r"\bparity (?!tune \{subject)[a-z]+( [a-z]+)? [^;:,']*\{")
    found = []
    for file in sorted((ROOT / "harness").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr) and unquoted.search(ast.unparse(node)):
                found.append(f"{file}: {ast.unparse(node)[:200]}")
    assert found == []


SUBJECT = {"subject": "mini", "recipe": "fp16"}
PAIR = {"reference": "my nets/X32.mlpackage", "inputs": ["a b.npz", "random:2"]}


def failing(name: str, pair: bool, **labels: str) -> Run:
    """Return a run in which one check failed, by the gate of that name."""
    layer = name if name in ("surgery", "stft", "end_to_end") else "conversion"
    check = Check(layer, SUBJECT | labels, True, GATES[name], failed("it differs"))
    cases = {"mini": ("a", "random:2")} if pair else {}
    profile = Profile("check", layers=(layer,), subjects=("mini",), cases=cases)
    goldens = () if pair else (GoldenState("mini", "hot", "match", ""),)
    return Run(profile, (check,), goldens=goldens, provenance=PAIR if pair else {})


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("name", sorted(GATES))
def test_the_next_steps_of_every_gate_are_commands(name: str, pair: bool) -> None:
    for labels in ({"case": "random:2" if pair else "hot"}, {"case": "a song.flac"}, {}):
        run = failing(name, pair, **labels)
        found = explain(run, package="my nets/X16.mlpackage").commands
        for command in (*found, NextSteps(run, run.checks[0]).tune()):
            words = shlex.split(command)
            if words[0] == "parity":
                parse(words[1:])
                assert (
                    ("X32.mlpackage" in command) or not pair or words[1] in ("headroom", "golden")
                )


def test_tuning_aims_at_the_gate_that_failed() -> None:
    def aim(name: str, **bounds: float) -> list[str]:
        run = failing(name, pair=False, case="hot")
        check = replace(run.checks[0], gate=replace(gate(name), **bounds))
        return shlex.split(NextSteps(run, check).tune())[1:-2]

    published = ["--min-snr", "60", "--rtol", "0.001", "--atol", "0.0001"]
    assert aim("conversion") == ["tune", "mini", "--case", "hot", *published]
    own = ["--min-snr", "72.5", "--rtol", "0.01", "--atol", "0.5"]
    assert aim("conversion", min_snr_db=72.5, rtol=0.01, atol=0.5)[4:] == own
    assert aim("end_to_end", min_snr_db=66.0)[4:] == ["--min-snr", "66", "--every-second"]
    assert aim("audit")[4:] == published


def test_a_recipe_of_ones_own_is_no_name_that_a_command_finds() -> None:
    run = failing("conversion", pair=False, case="hot")
    check = replace(run.checks[0], labels={**run.checks[0].labels, "recipe": "unknown"})
    commands = explain(replace(run, checks=(check,))).commands
    assert commands
    assert not any("unknown" in command for command in commands)


@pytest.mark.parametrize(
    "provenance",
    [{}, {"reference": 3, "inputs": ["a"]}, {"reference": "x", "inputs": "a"},
     {"reference": "x", "inputs": []}, {"reference": "x", "inputs": [1, 2]},
     {"reference": "x", "inputs": ["a", "b", "c"]}],
)  # fmt: skip
def test_a_run_that_names_no_reference_has_none(provenance: dict[str, Any]) -> None:
    run = replace(failing("conversion", pair=True), provenance=provenance)
    assert counterpart_of(run) is None


@pytest.mark.exhaustive
def test_the_next_steps_of_a_subject_run_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that take minutes are read above, and run on smaller networks by the lab's tests."""
    made = Workbench(ROOT / "golden", tmp_path).packages.path("mini", "fp16")
    package = made.rename(tmp_path / "my own.mlpackage")
    run = failing("end_to_end", pair=False, case="hot")
    commands = explain(run, package=str(package)).commands
    assert [command.split()[1] for command in commands] == ["diagnose", "headroom", "sensitivity"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "golden").symlink_to(ROOT / "golden")
    codes = [main(shlex.split(command)[1:]) for command in commands[:2]]
    assert codes == [1, 0]  # FP16 is not enough for noise in clipping
