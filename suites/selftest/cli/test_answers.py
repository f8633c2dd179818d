"""How commands answer where something is missing: if these fail, a script reads another answer than
the one that was given, or none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli.app import main
from harness.errors import ParityError
from harness.packs.manifest import TSV_NAME
from harness.verdicts import Run, Verdict
from suites.selftest.lint.building import F32, Made
from suites.selftest.report.conftest import build_run

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_package_that_records_no_recipe_is_audited_into_one_document(
    here: Path, capsys: Captured
) -> None:
    Made(lambda mb, x: mb.exp(x=x, name="y"), {"x": ((4,), F32)}).write(here / "x.mlpackage")
    assert main(["audit", "x.mlpackage", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "not_evaluated"
    assert document["recipe"] is None
    assert document["precision_map"]["exp"] == {"fp32": 1}
    assert main(["audit", "x.mlpackage"]) == 3
    assert "NOT EVALUATED: this package records no recipe" in capsys.readouterr().out
    assert main(["audit", "x.mlpackage", "--precision", "fp32", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == document.keys()


@pytest.mark.parametrize(
    "command",
    [
        "report run.json --out page",
        "check nowhere.mlpackage --subject mini",
        "run nowhere.toml",
        "baseline diff run.json",
    ],
)
def test_a_baseline_that_is_named_and_is_not_there_is_an_error(
    command: str, here: Path, capsys: Captured
) -> None:
    """Held against nothing, a run would look as if nothing had moved."""
    Path("run.json").write_text(build_run().to_json(), encoding="utf-8")
    assert main([*command.split(), "--baseline", "mistyped.json"]) == 2
    assert "mistyped.json can't be read" in capsys.readouterr().err
    assert not Path("page").exists()


@pytest.mark.parametrize(
    "options", ["--rtol 0 --atol 0", "--min-snr 0", "--gate surgery", "--ignore x", "--resample"]
)
def test_a_pack_is_not_judged_by_bounds_that_it_would_not_heed(
    options: str, here: Path, capsys: Captured
) -> None:
    Path("pack").mkdir()
    Path("pack", TSV_NAME).touch()
    assert main(["compare", "pack", "results", *options.split()]) == 2
    assert "says its own tolerances" in capsys.readouterr().err


def test_a_comparison_that_breaks_off_leaves_no_green_page_of_an_older_one(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    np.savez("x.npz", y=np.ones(4, np.float32))
    command = ["compare", "x.npz", "x.npz", "--report", "page"]
    assert main(command) == 0

    def broken(*_: object) -> None:
        raise ParityError("it breaks off")

    monkeypatch.setattr("harness.comparison.judge", broken)
    assert main(command) == 2
    old = Run.from_json(Path("page", "run.json").read_text("utf-8"))
    assert old.verdict is Verdict.NOT_EVALUATED
    assert "a newer run began" in capsys.readouterr().err + old.sentence()
