"""If these fail, ``parity sensitivity``, ``tune`` and ``sweep`` can't be trusted in a script."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from harness import mil
from harness.cli.app import main
from harness.conversion import TracedModel, load_recipe
from harness.precision.virtual import VirtualPrecision
from harness.workbench.sources import SubjectSource, subject
from suites.selftest.precision.conftest import STEMS

Signal = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Loaded:
    """Stands for a subject that was loaded; its network is the trace of the fixtures."""

    name: str = "narrow"
    fingerprint: str = field(default="0" * 64)

    def extract(self) -> None:
        return None


@pytest.fixture
def narrow_lab(
    narrow: VirtualPrecision,
    narrow_path: Path,
    narrow_trace: TracedModel,
    music: Signal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Put the narrow network in the place of every subject."""

    def inputs(source: SubjectSource, device: str = "cpu") -> dict[str, Signal]:
        return dict.fromkeys(source.cases, music)

    monkeypatch.setattr(SubjectSource, "lab", lambda source: nullcontext(narrow))
    monkeypatch.setattr(SubjectSource, "inputs", inputs)
    monkeypatch.setattr(SubjectSource, "_fp32_package", lambda source, *where: narrow_path)
    monkeypatch.setattr(SubjectSource, "stems", STEMS)
    monkeypatch.setattr(subject, "load_subject", lambda name: Loaded())
    monkeypatch.setattr(subject, "trace_inner_model", lambda model: narrow_trace)


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("narrow_lab")
def test_sensitivity_gives_every_operation_its_share(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["sensitivity", "mini", "--probes", "2", "--case", "song"]
    assert main([*command, "--json", "--out", str(tmp_path / "s.json")]) == 0
    found = document(capsys)
    assert found == json.loads((tmp_path / "s.json").read_text())
    assert found["kind"] == "sensitivity"
    assert set(found["measured_db"]) >= {"song/stems", "song/stem:vocals", "song/branch:freq"}
    assert all(share["mean"]["stems"] >= 0 for share in found["operations"])
    assert main(command) == 0
    assert "the whole recipe" in capsys.readouterr().out


@pytest.mark.usefixtures("narrow_lab")
def test_sensitivity_tells_what_compressed_weights_add(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sensitivity", "mini", "--precision", "int8", "--probes", "1", "--case", "song"]
    assert main([*command, "--json"]) == 0
    found = document(capsys)
    errors = {share["error"] for share in found["operations"]}
    assert (found["precision"], errors) == ("int8", {"fp16", "int8"})
    assert main(command) == 0
    assert "int8" in capsys.readouterr().out


@pytest.mark.usefixtures("narrow_lab")
def test_tune_ships_what_a_package_confirms(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, music: Signal, narrow: VirtualPrecision
) -> None:
    recipe, package = tmp_path / "mine.toml", tmp_path / "mine.mlpackage"
    command = ["tune", "mini", "--min-snr", "75", "--margin", "0.5", "--case", "song"]
    assert main([*command, "--out", str(recipe), "--package", str(package), "--json"]) == 0
    found = document(capsys)
    made = found["confirmation"]
    assert (made["audit"], made["holds"]) == ("pass", True)
    assert made["furthest_db"] <= 1.0
    assert made["measured_db"].keys() == found["best"]["measured_db"].keys()
    assert json.loads((tmp_path / "mine.json").read_text())["pareto"] == found["pareto"]
    assert "def op_selector" in (tmp_path / "mine.py").read_text()
    actual = mil.load(package).run(music)
    virtual = narrow.recipe_model(load_recipe(recipe)).run(music)
    assert all(torch.equal(actual[name], virtual[name]) for name in virtual)


@pytest.mark.usefixtures("narrow_lab")
def test_tune_says_what_limits_it_and_ships_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["tune", "mini", "--min-snr", "75", "--max-fp32-share", "0.01", "--case", "song"]
    recipe, package = tmp_path / "mine.toml", tmp_path / "mine.mlpackage"
    assert main([*command, "--out", str(recipe), "--package", str(package)]) == 1
    assert "1.0 % are allowed" in capsys.readouterr().out
    assert not recipe.exists()
    assert not package.exists()
    assert json.loads((tmp_path / "mine.json").read_text())["reached"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "mine.txt"], ".toml"),
        (["--out", "mine.toml", "--package", "mine.zip"], ".mlpackage"),
        (["--out", "mine.toml", "--rtol", "1e-3"], "--atol"),
        (["--out", "mine.toml", "--cost", "flop"], "flops"),
    ],
)
def test_tune_refuses_in_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "mini", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("narrow_lab")
def test_a_sweep_goes_on_where_it_stopped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sweep", "mini", "--precisions", "fp16,fp32,int8", "--case", "song"]
    command += ["--cache", str(tmp_path / "cache"), "--json"]
    assert main(command) == 0
    first = document(capsys)
    assert [(cell["precision"], round(cell["fp32_share"], 9)) for cell in first["cells"]] == [
        ("fp16", 0.0),
        ("fp32", 1.0),
        ("int8", 0.0),
    ]
    half, whole, less = (cell["weight_bytes"] for cell in first["cells"])
    assert less < half == whole // 2
    assert all(level is None for level in first["cells"][1]["snr_db"].values())  # nothing differs
    monkeypatch.setattr(SubjectSource, "inputs", None)  # whoever measures again, breaks
    assert main(command) == 0
    assert document(capsys) == first
