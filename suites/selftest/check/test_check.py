"""If these fail, `parity check` is a weaker judge than a run, and people ship what it passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.cli import main
from harness.conversion import load_recipe
from harness.conversion.sidecar import PREFIX
from harness.errors import PackageError
from harness.faults import get_fault
from harness.mil import load
from harness.mil.editing import new_operation, with_inputs
from harness.mil.saving import save_package
from harness.verdicts import Run, Verdict, gate
from harness.workbench import Workbench
from suites.selftest.check.faulty_packages import FaultPackager
from suites.selftest.structure.rewrites import REWRITES

Judge = Callable[..., Run]


def failing(run: Run) -> set[str]:
    checks = [c for c in run.checks if c.gating and c.verdict is Verdict.FAIL]
    return {check.gate.name for check in checks if check.gate}


def not_evaluated(run: Run) -> set[str]:
    checks = [c for c in run.checks if c.verdict is Verdict.NOT_EVALUATED]
    return {check.gate.name for check in checks if check.gate}


def test_a_sound_package_passes_every_gate_that_a_run_has(package: Path, judged: Judge) -> None:
    run = judged(package)
    assert run.verdict is Verdict.PASS, run.sentence()
    gates = {check.gate.name for check in run.checks if check.gate and check.gating}
    assert gates == {
        "contract",
        "audit",
        "weights",
        "program",
        "lint",
        "conversion",
        "expected_precision_fp32",
        "repeat",
        "end_to_end",
        "quality",
    }


@pytest.mark.parametrize(
    ("fault", "place"),
    [
        ("program.gelu-tanh", "mode in gelu"),
        pytest.param(
            "program.layer-norm-epsilon",
            "crosstransformer.layers.0.norm1",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_a_bug_that_passes_60_db_is_named(
    fault: str, place: str, bench: Workbench, judged: Judge, tmp_path: Path
) -> None:
    """Both have over 79 dB; what sees them is what FP32 allows, and the program itself."""
    saved = FaultPackager(bench).save(get_fault(fault), tmp_path / "wrong.mlpackage")
    assert saved.path is not None
    run = judged(saved.path)
    assert run.verdict is Verdict.FAIL
    assert failing(run) == {"program", "expected_precision_fp32"}
    (program,) = [c for c in run.checks if c.gate and c.gate.name == "program"]
    assert place in program.outcome.reason
    (row,) = run.artefacts.explanation
    assert place in row.steps[0].evidence[0]


def test_a_package_excuses_itself_from_no_gate(
    package: Path, judged: Judge, tmp_path: Path
) -> None:
    """Its metadata is what somebody wrote there: a recipe that asks for less, under any name."""
    model = load(package)
    function, constants = model.plan.function, model.package.constants
    for name in ("fp32", "mine"):
        excused = replace(load_recipe("fp32"), name=name, gates=("expected_precision_fp32",))
        metadata = {**model.package.metadata, f"{PREFIX}recipe_toml": excused.to_toml()}
        forged = tmp_path / f"{name}.mlpackage"
        save_package(forged, function, constants.array, metadata)
        if name == "fp32":
            with pytest.raises(PackageError, match="is not the one of this name"):
                judged(forged)
            continue
        run = judged(forged)
        gating = {c.gate.name for c in run.checks if c.gate and c.gating}
        assert {"conversion", "end_to_end"} <= gating


@pytest.mark.exhaustive
def test_other_names_and_no_papers_stay_green_once_the_recipe_is_given(
    package: Path, bench: Workbench, judged: Judge, tmp_path: Path
) -> None:
    """A package that somebody else's tool wrote again has neither our names nor our metadata."""
    renamed, bare = tmp_path / "renamed.mlpackage", tmp_path / "bare.mlpackage"
    REWRITES["values renamed"](package, renamed)
    model = load(renamed)
    metadata = {k: v for k, v in model.package.metadata.items() if not k.startswith(PREFIX)}
    save_package(bare, model.plan.function, model.package.constants.array, metadata)
    asked = judged(bare)
    assert asked.verdict is Verdict.NOT_EVALUATED
    assert not_evaluated(asked) == {"audit", "program", "weights", "expected_precision"}
    assert all("--recipe" in c.outcome.reason for c in asked.checks if c.gate == gate("program"))
    given = judged(bare, recipe=load_recipe("fp32"))
    assert given.verdict is Verdict.PASS, given.sentence()
    assert len(given.checks) == len(judged(package).checks)


@pytest.mark.exhaustive
def test_a_program_that_draws_random_numbers_is_not_repeatable(
    package: Path, judged: Judge, tmp_path: Path
) -> None:
    model = load(package)
    function = model.plan.function
    target = next(o for o in function.block.operations if "time" in [v.name for v in o.outputs])
    made = [int(size) for size in target.outputs[0].type.shape]
    settings = {"mean": 0.0, "stddev": 1e-9}
    noise = new_operation("random_normal", "noise", made, target.dtype, **settings)
    noise = with_inputs(noise, shape=np.array(made, np.int32))
    total = new_operation("add", "time", made, target.dtype, x="clean_time", y="noise")
    operations = []
    for operation in function.block.operations:
        if operation is target:
            clean = replace(operation.outputs[0], name="clean_time")
            operations += [replace(operation, outputs=(clean,)), noise, total]
        else:
            operations.append(operation)
    block = replace(function.block, operations=tuple(operations))
    out = tmp_path / "noisy.mlpackage"
    save_package(
        out,
        replace(function, block=block),
        model.package.constants.array,
        model.package.metadata,
    )
    assert {"repeat", "program"} <= failing(judged(out))


@pytest.mark.parametrize(
    "layers",
    [("conversion",), pytest.param(("conversion", "end_to_end"), marks=pytest.mark.exhaustive)],
)
def test_silence_alone_is_not_evaluated(
    layers: tuple[str, ...], package: Path, judged: Judge
) -> None:
    run = judged(package, cases=("silence",), layers=layers)
    assert run.verdict is Verdict.NOT_EVALUATED
    assert "silent" in run.missing[0]


@pytest.mark.exhaustive
def test_a_file_is_judged_inside_the_network_too(
    package: Path, judged: Judge, tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).standard_normal((4410, 2)).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", 0.1 * noise, 44_100, subtype="FLOAT")
    run = judged(package, audio=tmp_path / "noise.wav")
    assert run.verdict is Verdict.PASS, run.sentence()
    assert sum(c.labels.get("tensor", "").startswith("tap ") for c in run.checks) > 30


def test_gates_of_the_command_line_replace_those_of_the_table(package: Path, judged: Judge) -> None:
    stricter = replace(gate("end_to_end"), min_snr_db=150.0)
    asked = {"cases": ("quiet",), "layers": ("end_to_end",)}
    stricter = replace(stricter, reason="given on the command line")
    run = judged(package, bounds={"end_to_end": stricter}, **asked)
    assert failing(run) == {"end_to_end"}
    assert "mini (narrowed to layer end_to_end, gates given on the command line)" in run.sentence()
    assert {check.layer for check in run.checks} == {"end_to_end"}


def test_a_case_without_values_behind_blocks_is_said_to_be_narrow(
    package: Path, judged: Judge
) -> None:
    """Else nobody learns of it; and whether a second run agrees, any case can tell."""
    run = judged(package, cases=("quiet",), layers=("conversion",))
    words = (
        "narrowed to layer conversion, outputs, since none of its cases has values behind blocks"
    )
    assert f"mini ({words})" in run.sentence()
    assert any(check.gate and check.gate.name == "repeat" for check in run.checks)


@pytest.mark.exhaustive
def test_the_command_reports_and_explains(
    bench: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = FaultPackager(bench).save(get_fault("program.gelu-tanh"), tmp_path / "x.mlpackage")
    words = ["check", str(saved.path), "--subject", "mini", "--case", "song", "--json"]
    more = ["--explain", "--report", str(tmp_path / "page"), "--history", str(tmp_path / "past")]
    assert main([*words, *more]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "fail"
    html = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert 'id="explanation"' in html
    assert "changed attribute mode in gelu" in html
    assert 'id="transform"' not in html, "a section that this profile doesn't cover"
    assert len(list((tmp_path / "past").iterdir())) == 1


def test_a_failure_that_is_waived_is_counted_and_passes(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", str(package), "--subject", "mini", "--case", "quiet", "--json"]
    words += ["--layer", "end_to_end", "--min-snr", "140"]
    assert main(words) == 1
    rows = json.loads(capsys.readouterr().out)["checks"]
    since = datetime.now(timezone.utc).date()
    waivers = "\n".join(
        f'[[waiver]]\ncheck = "{row["id"]}"\nreason = "known"\nsince = {since}\n'
        f"until = {since + timedelta(days=30)}\nlowest_headroom_db = -40.0\n"
        for row in rows
        if row["verdict"] == "fail"
    )
    (tmp_path / "waivers.toml").write_text(waivers, encoding="utf-8")
    assert main([*words, "--waivers", str(tmp_path / "waivers.toml")]) == 0
    assert "waived" in json.loads(capsys.readouterr().out)["sentence"]


def test_a_layer_that_is_none_is_refused(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(package), "--subject", "mini", "--layer", "stft"]) == 2
    assert "end_to_end" in capsys.readouterr().err
