"""The commands end as their results say, and print one document or readable tables."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main, proofs
from harness.faults.mutation import CampaignResult, MutantResult
from harness.faults.mutation.detector import Change, Detection
from suites.selftest.faults_mutation.test_clean import many, result

KILLED = MutantResult(
    *(0, "conv_1", "conv", "encoder.0", "scale", "result x 1.01", "killed", "song"),
    Detection("conversion", "conversion", "freq", 20.0),
    (Change("held-out song", 30.0, True),),
)
TOLERATED = MutantResult(
    *(1, "sub_1", "sub", "", "operand", "operands exchanged", "tolerated"),
    changes=(Change("held-out song", math.inf, False),),
)
SURVIVED = MutantResult(
    *(2, "mul_1", "mul", "", "scale", "result x 1.01", "survived"),
    changes=(Change("held-out song", 30.0, True),),
)


class NoBench:
    def __init__(self, *_: object) -> None:
        self.packages = self

    def path(self, *_: object) -> Path:
        return Path("some.mlpackage")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    def answer_with(made: object) -> None:
        monkeypatch.setattr(proofs, "run_campaign", lambda *_, **__: made)
        monkeypatch.setattr(proofs, "run_clean", lambda *_, **__: made)

    monkeypatch.setattr(proofs, "Workbench", NoBench)
    return answer_with


def campaign(*rows: MutantResult) -> CampaignResult:
    return CampaignResult("mini", "fp32", ("song",), "held-out song", 3, rows, (0,), 1.0, {})


def test_a_hole_is_exit_code_1_and_is_shown(answer, capsys):
    answer(campaign(KILLED, TOLERATED, SURVIVED))
    assert proofs.mutations("mini", Path("golden")) == 1
    shown = capsys.readouterr().out
    assert "mul_1" in shown
    assert "exact" in shown
    assert "50.00 %" in shown
    assert "1 survived" in shown


def test_caught_mutations_are_exit_code_0_and_one_document(answer, capsys, tmp_path):
    answer(campaign(KILLED, TOLERATED))
    path = tmp_path / "mutations.json"
    assert proofs.mutations("mini", Path("golden"), folder=tmp_path, json=True) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(path.read_text())
    assert printed["score"] == 1.0
    assert printed["rows"][1][printed["columns"].index("changes")][0]["snr_db"] == "inf"


def test_clean_runs_end_as_they_say(answer, capsys):
    answer(result(*many(50)))
    assert proofs.clean_runs("mini", Path("golden"), runs=50) == 0
    assert "0 alarms in 50 runs" in capsys.readouterr().out
    answer(result(*many(49)))
    assert proofs.clean_runs("mini", Path("golden"), runs=49) == 3
    answer(result(*many(50, alarms=("stft: too far",))))
    assert proofs.clean_runs("mini", Path("golden"), runs=50) == 1
    assert "stft: too far" in capsys.readouterr().out


def test_the_command_reaches_them(answer, capsys, tmp_path):
    answer(campaign(KILLED, TOLERATED))
    assert main(["faults", "--mutations", "--out", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "mutations"
    assert (tmp_path / "mutations.json").is_file()
    answer(result(*many(50)))
    assert main(["faults", "--clean-runs", "50", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "clean-runs.json").is_file()


@pytest.mark.parametrize(
    "words", [["--mutations", "--clean-runs", "50"], ["--mutations", "--sample"]]
)
def test_what_excludes_each_other_is_refused(words, capsys):
    assert main(["faults", *words]) == 2
    assert "--mutations" in capsys.readouterr().err
