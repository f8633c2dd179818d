"""The catalogue: every known bug is there, described, and part of the documentation."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import ParityError, UnknownNameError
from harness.faults import LEVELS, all_faults, fault, get_fault, select_faults
from harness.faults.registry import OWN
from harness.places import GOLDEN_ROOT
from suites.selftest.faults.fault_table import markdown

ROOT = Path(__file__).parents[3]


def test_every_level_has_faults_and_a_sample() -> None:
    counts = Counter(item.level for item in all_faults())
    assert set(counts) == set(LEVELS)
    assert min(counts.values()) >= 5
    assert {item.level for item in select_faults(sample=True)} == set(LEVELS)


def test_every_fault_says_what_it_is_in_one_sentence() -> None:
    for item in all_faults():
        assert item.bug.endswith("."), item.name
        assert item.source, item.name


def test_the_documentation_lists_what_there_is() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert text.endswith(markdown()), (
        "run: python -m suites.selftest.faults.fault_table, and put it at the end"
    )


def test_a_fault_is_registered_once_with_a_level_and_a_description() -> None:
    def described() -> None:
        """A bug."""

    for name in ("stems.order", "nowhere.order", "stems"):
        with pytest.raises(ParityError, match="fault"):
            fault(name, judge="stems", caught_by="end_to_end", source=OWN)(described)
    with pytest.raises(ParityError, match="docstring"):
        fault("stems.new", judge="stems", caught_by="end_to_end", source=OWN)(lambda: None)
    assert "stems.new" not in {item.name for item in all_faults()}


def test_faults_are_chosen_by_level_and_pattern() -> None:
    chosen = select_faults(levels=("goldens",), patterns=("*.stale-*",))
    assert [item.name for item in chosen] == [
        "goldens.stale-weights",
        "goldens.stale-recipe",
        "goldens.stale-versions",
    ]
    for words in ({"levels": ("golden",)}, {"patterns": ("goldens.stael",)}):
        with pytest.raises(UnknownNameError, match="did you mean"):
            select_faults(**words)
    with pytest.raises(UnknownNameError, match=r"goldens\.stale-weights"):
        get_fault("goldens.stale-weight")


def test_the_list_needs_no_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "--list", "--json", "--level", "harness"]) == 0
    rows = json.loads(capsys.readouterr().out)["faults"]
    assert "harness.worker-dead" in [row["name"] for row in rows]


def test_injecting_writes_a_run_and_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ["--fault", "goldens.bit-flipped", "--fault", "goldens.stale-*"]
    words = ["faults", *chosen, "--json", "--out", str(tmp_path / "report")]
    assert main([*words, "--golden-root", str(ROOT / GOLDEN_ROOT)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "pass"
    assert [row["outcome"] for row in document["faults"]] == 4 * ["caught"]
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "goldens.bit-flipped" in page


def test_a_choice_without_faults_is_not_green(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["faults", "--level", "stft", "--fault", "weights.*", "--json"]
    assert main([*words, "--golden-root", str(ROOT / GOLDEN_ROOT)]) == 3
    assert "no known bug was injected" in capsys.readouterr().out


def test_a_name_that_does_not_exist_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "--fault", "stems.ordre"]) == 2
    assert "did you mean 'stems.order'" in " ".join(capsys.readouterr().err.split())
