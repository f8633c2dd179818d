"""The example in C++: it passes, and each bug in it is named by the judge, and no other."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.packs import Pack, Request, execute, judge, question_copy, read_results
from harness.packs.judging import Judgement
from harness.verdicts import Verdict

BUGS = {
    "padding": "conv1d",
    "epsilon": "group_norm",
    "tanh": "gelu",
    "coefficient": "gelu_tanh",
    "bias": "linear",
    "gates": "lstm",
    "window": "stft",
}


GRADIENT_BUGS = {
    "last-row": "linear",
    "flip": "conv1d",
    "slope": "gelu",
    "cubic": "gelu_tanh",
    "mean-term": "group_norm",
}
FORWARD = Request(tuple(BUGS.values()), forward=True)
BACKWARD = Request(tuple(GRADIENT_BUGS.values()))


def judged(
    reader: Path, pack: Pack, folder: Path, *options: str, request: Request = FORWARD
) -> Judgement:
    """Run it on a pack as an engine, and judge what it implements."""
    given, out = folder / f"given {pack.manifest.name}", folder / f"out {pack.manifest.name}"
    given.mkdir()
    out.mkdir()
    question_copy(pack, given)
    command = shlex.join([str(reader), "{pack}", "{out}", *options])
    execution = execute(command, pack, given, out, 60.0)
    assert execution.complaint == ""
    there = tuple(name for name in request.only if name in pack.manifest.operations)
    return judge(pack, read_results(out, pack), replace(request, only=there))


@pytest.mark.parametrize("algorithm", ["standard", "kahan", "welford"])
def test_the_example_passes_and_its_error_is_the_algorithms(
    algorithm: str, reader: Path, built: dict[str, Pack], tmp_path: Path
) -> None:
    """The reference in NumPy predicts another language's error: it is no bug."""
    options = ("--algorithm", algorithm)
    found = {name: judged(reader, pack, tmp_path, *options) for name, pack in built.items()}
    for judgement in found.values():
        assert [f.name for f in judgement.findings if f.outcome.verdict is not Verdict.PASS] == []
    long = next(f for f in found["ops"].findings if f.case.name == "group_norm.long_sum")
    measured = long.outcome.metrics["max_abs_error"]
    assert measured == pytest.approx(long.case.algorithms[algorithm], rel=0.5)


@pytest.mark.parametrize("bug", BUGS)
def test_the_judge_names_the_operation_with_the_bug_and_no_other(
    bug: str, reader: Path, built: dict[str, Pack], tmp_path: Path
) -> None:
    failed = []
    for pack in built.values():
        judgement = judged(reader, pack, tmp_path, "--bug", bug)
        assert judgement.missing == []
        failed += judgement.operations(Verdict.FAIL)
    assert failed == [BUGS[bug]]


def test_its_gradients_pass_against_the_stored_cotangents(
    reader: Path, ops: Pack, tmp_path: Path
) -> None:
    judgement = judged(reader, ops, tmp_path, request=BACKWARD)
    assert [f.name for f in judgement.findings if f.outcome.verdict is not Verdict.PASS] == []
    assert len([f for f in judgement.findings if "/grad/" in f.name]) > 50


@pytest.mark.parametrize("bug", GRADIENT_BUGS)
def test_a_wrong_gradient_is_named_and_its_outputs_stay_right(
    bug: str, reader: Path, ops: Pack, tmp_path: Path
) -> None:
    judgement = judged(reader, ops, tmp_path, "--bug", bug, request=BACKWARD)
    assert judgement.missing == []
    assert judgement.operations(Verdict.FAIL) == [GRADIENT_BUGS[bug]]
    assert all("/grad/" in finding.name for finding in judgement.of(Verdict.FAIL))


def test_what_it_does_not_implement_is_not_evaluated(
    reader: Path, dsp: Pack, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"{shlex.quote(str(reader))} {{pack}} {{out}}"
    assert main(["pack", "run", str(dsp.folder), "--command", command, "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["failed_operations"] == []
    assert "biquad.peak_block/out/y" in document["missing"]
    assert not [name for name in document["missing"] if name.startswith("stft.")]


def test_it_refuses_a_pack_of_another_version(reader: Path, copied: Path, tmp_path: Path) -> None:
    """A reader that guesses would be judged by numbers that it misread."""
    manifest = copied / "manifest.tsv"
    manifest.write_text(manifest.read_text("utf-8").replace("parity-pack\t1", "parity-pack\t2"))
    done = subprocess.run([reader, copied, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no pack of version 1" in done.stderr
