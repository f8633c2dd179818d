"""If these fail, the lab and ``diagnose`` can't be asked about a package of another converter."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.adapters import adapter_path
from harness.cli import main
from harness.mil import load
from harness.subjects import Subject
from suites.selftest.adapters.strangers import STRANGERS, convert, subject_of
from suites.selftest.adapters.test_adapters_of_strangers import planted

pytestmark = pytest.mark.exhaustive

Captured = pytest.CaptureFixture[str]
SAMPLE = STRANGERS["stems in the channels"]


class Pair(NamedTuple):
    """A stranger's packages in FP32 and in FP16; only the first has an adapter beside it."""

    subject: Subject
    wide: Path
    narrow: Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, golden_root: Path) -> Pair:
    folder = tmp_path_factory.mktemp("lab")
    subject = subject_of(folder)
    wide = convert(SAMPLE, subject, folder / "x32.mlpackage")
    narrow = convert(replace(SAMPLE, fp16=True), subject, folder / "x16.mlpackage")
    words = ["--subject", subject.name, "--golden-root", str(golden_root)]
    assert main(["adapt", str(wide), *words]) == 0
    return Pair(subject, wide, narrow)


@pytest.fixture
def asked(pair: Pair, golden_root: Path, capsys: Captured) -> Callable[..., Mapping[str, Any]]:
    """Run a command on the song of the pair's subject; returns its document."""

    def ask(command: str, package: Path, *words: object, code: int = 0) -> Mapping[str, Any]:
        given = ["--subject", pair.subject.name, "--case", "song", "--golden-root", golden_root]
        line = [command, str(package), *map(str, given), *map(str, words), "--json"]
        assert main(line) == code, capsys.readouterr().err
        found: Mapping[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return ask


def test_sensitivity_measures_the_stems_that_the_adapter_makes(
    pair: Pair, asked: Callable[..., Mapping[str, Any]]
) -> None:
    found = asked("sensitivity", pair.wide, "--probes", 4)
    names = {"stems", *(f"stem:{stem}" for stem in pair.subject.sources)}
    assert names <= set(found["measures"])
    pairs = [(found["predicted_db"][n], level) for n, level in found["measured_db"].items()]
    assert len(pairs) >= len(names)
    assert all(predicted == pytest.approx(measured, abs=6.0) for predicted, measured in pairs)


def test_what_is_tuned_holds_and_lies_in_the_same_adapter(
    pair: Pair,
    asked: Callable[..., Mapping[str, Any]],
    golden_root: Path,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    made, recipe = tmp_path / "mine.mlpackage", tmp_path / "mine.toml"
    found = asked("tune", pair.wide, "--min-snr", 62, "--out", recipe, "--package", made)
    assert found["confirmation"]["holds"] is True
    assert {name.split("/")[1].split(":")[0] for name in found["confirmation"]["measured_db"]} >= {
        "stem"
    }
    assert adapter_path(made).read_text() == adapter_path(pair.wide).read_text()
    rules = ["--recipe", str(recipe), "--min-snr", "61", "--rtol", "1e-2", "--atol", "1e-3"]
    own = ["--subject", pair.subject.name, "--golden-root", str(golden_root)]
    assert main(["check", str(made), *own, "--case", "song", *rules]) == 2
    assert "was made for" in capsys.readouterr().err, "no conversion of ours has its operations"
    given = tmp_path / "in.safetensors"
    assert main(["adapt", str(made), *own, "--inputs-out", str(given)]) == 0
    beside = ["--reference", str(pair.wide), "--inputs", str(given)]
    assert main(["check", str(made), *beside, *rules]) == 0


def test_headroom_and_sweep_take_it(
    pair: Pair, asked: Callable[..., Mapping[str, Any]], tmp_path: Path
) -> None:
    assert asked("headroom", pair.wide)["operations"]
    words = ["--precisions", "fp16,fp32", "--cache", tmp_path / "swept"]
    narrow, wide = asked("sweep", pair.wide, *words)["cells"]
    assert 40 < min(level for level in narrow["snr_db"].values()) < 80
    assert set(wide["snr_db"].values()) == {None}, "nothing differs"


def test_diagnose_holds_it_against_the_fp32_of_its_converter(
    pair: Pair, asked: Callable[..., Mapping[str, Any]]
) -> None:
    """Only one of the two has to have the adapter beside it."""
    found = asked("diagnose", pair.narrow, "--reference", pair.wide, code=1)
    assert found["conclusion"] == "fp16 is not enough"
    wrong = planted(pair.wide, "tanh approximation")
    found = asked("diagnose", wrong, "--reference", pair.wide, code=1)
    assert found["conclusion"] == "another computation"
    (culprit,) = found["culprits"]
    kinds = {o.name: o.type for o in load(pair.wide).operations}
    assert kinds[culprit] == "gelu"


def test_explain_finds_the_operation_and_what_it_prints_runs(
    pair: Pair, golden_root: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = planted(pair.wide, "tanh approximation")
    root = ["--golden-root", str(golden_root)]
    check = ["check", str(wrong), "--subject", pair.subject.name, "--case", "song", *root]
    assert main([*check, "--report", "page"]) == 1
    explain = ["explain", "page/run.json", "--package", str(wrong), *root]
    capsys.readouterr()
    assert main(explain) == 2
    assert "--reference X32.mlpackage beside --subject" in capsys.readouterr().err
    assert main([*explain, "--reference", str(pair.wide)]) == 0
    said = capsys.readouterr().out
    assert "gelu" in said
    commands = [line.strip() for line in said.partition("Next:")[2].splitlines() if line.strip()]
    assert commands
    for command in commands:
        assert main([*shlex.split(command)[1:], *root]) in (0, 1), command


def test_reduce_takes_it_too(
    pair: Pair, asked: Callable[..., Mapping[str, Any]], tmp_path: Path
) -> None:
    adapter_path(pair.narrow).write_text(adapter_path(pair.wide).read_text())
    try:
        found = asked("reduce", pair.narrow, "--fails-when", "snr<70", "--verify", code=1)
    finally:
        adapter_path(pair.narrow).unlink()
    assert found["fails"] is True


def test_it_is_asked_of_which_model_it_is(pair: Pair, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "mine.toml"
    for words in (
        ["headroom", str(pair.wide)],
        ["sensitivity", str(pair.wide), "--case", "song"],
        ["tune", str(pair.wide), "--out", str(out)],
        ["sweep", str(pair.wide), "--precisions", "fp16"],
        ["reduce", str(pair.wide), "--fails-when", "nan", "--verify"],
    ):
        assert main(words) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "in another converter's layout" in said
        assert "say of which model, with --subject NAME" in said
    words = ["diagnose", str(pair.wide), "--subject", pair.subject.name]
    assert main(words) == 2
    assert "no operation of it has a counterpart" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
