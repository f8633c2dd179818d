"""If these fail, ``parity tune --device`` promises what it didn't measure, or writes half of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from harness.cli.app import main
from harness.conversion import TracedModel, load_recipe
from harness.precision.tuning.forms import FormSearch, FormTrial
from harness.workbench import packages, rewriting
from harness.workbench.sources import SubjectSource
from suites.selftest.precision.test_lab_commands import Loaded

Signal = dict[str, torch.Tensor]
DEVICE = "ane-m1"


def found(db: float, operations: int = 103) -> FormSearch:
    best = FormTrial(("sigmoid_over_exp",), operations, (), {f"{DEVICE}/song/branch:freq": db})
    plain = FormTrial((), 100, (), {f"{DEVICE}/song/branch:freq": 45.0})
    limits, equal = {"tables exact": 59.5}, {"song/branch:freq": 84.0}
    risks, trials = {"sums rounded to nearest": 51.5}, (plain, best)
    return FormSearch((DEVICE,), ("song",), 60.0, 0.05, best, plain, trials, limits, risks, equal)


@pytest.mark.parametrize(
    ("search", "code", "said"),
    [
        (found(60.5), 0, "recipe "),
        (found(58.0), 1, "60 dB are not reached"),
        (found(60.5, 106), 1, "106 operations are more than are allowed"),
    ],
)
def test_it_writes_recipe_passes_and_document_and_says_what_limits(
    search: FormSearch,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(SubjectSource, "inputs", lambda *_: {"song": {}})
    monkeypatch.setattr(rewriting, "search_forms", lambda *_, **__: search)
    target = tmp_path / "mini_ane.toml"
    command = ["tune", "mini", "--device", DEVICE, "--case", "song", "--out", str(target)]
    assert main(command) == code
    printed = capsys.readouterr().out
    assert said in printed
    assert "sums rounded to nearest the worst output has 51.50 dB" in printed
    assert load_recipe(target).rewrites == ("sigmoid_over_exp",)
    compile(target.with_suffix(".py").read_text(), "mini_ane.py", "exec")
    document = json.loads(target.with_suffix(".json").read_text())
    assert document["kind"] == "rewriting"
    assert document["reached"] is (code == 0)
    assert document["best"]["operations"] == search.best.operations


def test_a_device_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SubjectSource, "inputs", lambda *_: {"song": {}})
    command = ["tune", "mini", "--device", "ane-m7", "--out", str(tmp_path / "x.toml")]
    assert main(command) == 2
    assert "ane-m7" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.exhaustive
def test_it_finds_forms_for_a_network(
    narrow_trace: TracedModel, music: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewriting, "load_subject", lambda subject: Loaded())
    monkeypatch.setattr(packages, "trace_inner_model", lambda model: narrow_trace)
    lines: list[str] = []
    search = rewriting.search_forms(
        "narrow",
        [DEVICE, "gpu"],
        {"song": music},
        min_snr_db=90,
        max_more_operations=1.0,  # so small a network has few other operations
        report=lines.append,
    )
    assert search.within
    assert not search.reached
    assert {"gelu_over_exp_short", "gelu_over_exp"} & set(search.best.rewrites)
    gains = [
        search.best.measured_db[key] - level
        for key, level in search.plain.measured_db.items()
        if key.startswith(DEVICE)
    ]
    assert min(gains) > 3
    assert search.limits["tables exact and accumulators wide and biases added wide"] > (
        search.best.worst_db
    )
    assert min(search.equal_db.values()) > 75
    assert len(lines) == len(search.trials)
