"""What a model card, a pull request and the page of a job say of a run."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.errors import RunError
from harness.records import annotations_of, eval_results, model_index
from harness.records.github import LONGEST_MESSAGE, LONGEST_TITLE, MOST
from harness.verdicts import Check, Profile, Run, failed

LINE = re.compile(r"::(error|warning|notice) title=([^:,\r\n]*)::([^\r\n]*)")
"""A workflow command as the runner reads it, whole on one line."""


def read(lines: tuple[str, ...]) -> list[tuple[str, str, str]]:
    """Return kind, title and message of each, as GitHub's runner unescapes them."""
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return [(m[1], unquote(m[2]), unquote(m[3])) for m in found if m]


def test_what_failed_is_an_error_and_comes_first(red: Run, green: Run) -> None:
    assert annotations_of(green) == ()
    notes = read(annotations_of(red))
    errors = [note for note in notes if note[0] == "error"]
    assert len(errors) == MOST
    assert errors[0][2].startswith("harness: worker gw1 died")
    assert errors[-1][1:] == (
        "and more",
        f"{len(red.red) - MOST + 1} more: see the job summary and the report",
    )
    assert any("reproduce: parity check" in message for _, _, message in errors)
    assert sum(kind == "warning" for kind, _, _ in notes) == len(red.missing)


TEXT = st.text(st.characters(), max_size=60) | st.sampled_from(
    ["%0A::error::x", "a\n::set-output name=x::y", "\r\n::add-mask::a", "100 %", "a,b:c", "\ud800"]
)


@given(reason=TEXT, subject=TEXT, count=st.integers(1, 30))
def test_no_text_of_a_run_becomes_a_command_of_its_own(
    reason: str, subject: str, count: int
) -> None:
    checks = tuple(
        Check("ops", {"subject": subject, "what": str(n)}, True, None, failed(reason * 40))
        for n in range(count)
    )
    notes = read(annotations_of(Run(Profile("p", layers=()), checks)))
    assert len(notes) == min(count, MOST)
    for _, title, message in notes:
        assert len(title) <= LONGEST_TITLE
        assert len(message) <= LONGEST_MESSAGE


def test_the_job_summary_is_appended(
    red: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, summary = tmp_path / "run.json", tmp_path / "summary.md"
    run.write_text(red.to_json())
    summary.write_text("of another step\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main(["report", str(run), "--github"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("::error ")]) == MOST
    text = summary.read_text()
    assert text.startswith("of another step\n## ✕ FAIL")
    assert len(text.encode()) < 1024 * 1024


def test_the_hub_reads_the_model_index(red: Run) -> None:
    text = model_index(red, "X")
    data: Any = ModelCard(text).data
    assert data.model_name == "X"
    rows = {(r.dataset_name, r.metric_type): r.metric_value for r in data.eval_results}
    assert rows["all checks", "parity_verdict"] == "fail"
    stems = [c for c in red.checks if c.gate and c.gate.name == "end_to_end"]
    for case in {c.labels["case"] for c in stems}:
        for recipe in {c.labels["recipe"] for c in stems}:
            mine = [c for c in stems if (c.labels["case"], c.labels["recipe"]) == (case, recipe)]
            told = rows[f"{mine[0].labels['subject']} · {recipe} · {case}", "end_to_end_snr_db"]
            levels = [c.outcome.metrics.get("snr_db") for c in mine]
            if any(v is None or v != v for v in levels):
                assert told == "not computed"
            elif not mine[0].outcome.metrics["silent"]:
                assert told == round(min(levels), 2)


def test_the_hub_reads_the_eval_results(green: Run) -> None:
    text = eval_results(green, "org/separation", "stems")
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    gating = [
        c.outcome.metrics["snr_db"]
        for c in green.checks
        if c.gating and c.gate and c.gate.name in ("end_to_end", "conversion")
        and not c.outcome.metrics["silent"]
    ]  # fmt: skip
    assert (entry.dataset_id, entry.task_id) == ("org/separation", "stems")
    assert entry.value == round(min(gating), 2)
    assert entry.notes is not None
    assert entry.notes.endswith(green.sentence()), "a verdict says what it is about"


def test_a_run_without_a_verdict_is_no_result_of_a_benchmark(unseen: Run, red: Run) -> None:
    with pytest.raises(RunError, match="NOT EVALUATED"):
        eval_results(unseen, "org/separation", "stems")
    whole = replace(red, gaps=(), goldens=())
    with pytest.raises(RunError, match="not computed"):  # NaN is no number that can be ranked
        eval_results(whole, "org/separation", "stems")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing to write"),
        (["--github", "--json"], "not both"),
        (["--eval-results", "e.yaml"], "--benchmark"),
        (["--eval-results", "e.yaml", "--benchmark", "x"], "OWNER/NAME:TASK"),
    ],
)
def test_what_can_not_be_done_is_refused_before_anything_is_read(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path / "none.json"), *options]) == 2
    assert said in capsys.readouterr().err


def test_without_the_extra_the_command_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec

    def lacking(name: str, package: str | None = None) -> object:
        return None if name == "pyarrow" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", lacking)
    words = ["report", str(tmp_path / "none.json"), "--parquet", str(tmp_path / "x.parquet")]
    assert main(words) == 2
    assert "pip install 'htdemucs-parity[records]'" in " ".join(capsys.readouterr().err.split())
