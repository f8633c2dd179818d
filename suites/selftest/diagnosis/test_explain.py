"""If these fail, an explanation sends its reader to the wrong layer, tap or operation."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.cli.app import main
from harness.diagnosis import audit_headroom, explain, focus_of, three_way
from harness.mil.editing import edited, find, with_constant
from harness.precision.virtual import VirtualPrecision
from harness.verdicts import (
    LAYERS,
    Check,
    EngineState,
    GoldenState,
    Outcome,
    Profile,
    Run,
    Verdict,
    gate,
)
from harness.verdicts.rows.artefacts import Artefacts
from harness.verdicts.rows.operations import OperationProfile, TapSeries
from harness.workbench.pictures import outline_of

Signal = dict[str, torch.Tensor]
ENGINES = tuple(EngineState(name, True, "here", executed=True) for name in ("torch", "mil"))


def check(layer: str, verdict: str = "pass", bounds: str = "conversion", **labels: str) -> Check:
    outcome = Outcome(Verdict(verdict), "because", "e", "o", 3.0, metrics={"snr_db": math.inf})
    where = {"subject": "mini", "case": "song", "recipe": "fp32"} | labels
    return Check(layer, where, True, gate(bounds), outcome)


def run_with(*checks: Check, **fields: object) -> Run:
    run = Run(
        profile=Profile("parity", subjects=("mini",)),
        checks=tuple(check(layer) for layer in LAYERS) + checks,
        engines=ENGINES,
        goldens=(GoldenState("mini", "song", "match", ""),),
    )
    return replace(run, **fields)  # type: ignore[arg-type]


def words(run: Run, **more: object) -> str:
    found = explain(run, **more)  # type: ignore[arg-type]
    return "\n".join(line for step in found.steps for line in (step.answer, *step.evidence))


def test_a_green_run_names_what_is_closest() -> None:
    found = explain(run_with())
    assert found.steps[-1].answer == "None: every check holds."
    assert "3.0 dB left" in found.steps[-1].evidence[0]


def test_what_is_exploratory_sends_nobody_hunting() -> None:
    """A run that passes was explained as one that fails end to end, with commands to go on."""
    idea = replace(check("end_to_end", "fail", "end_to_end", stem="drums"), gating=False)
    found = explain(run_with(idea))
    assert found.steps[-1].answer.startswith("None: every check that gates holds; 1 exploratory")
    assert f"exploratory: {idea.id}: because" in found.steps[-1].evidence
    assert found.commands == ()


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("parity check 'my nets/bad.mlpackage' --subject mini", "'my nets/bad.mlpackage'"),
        ("pytest suites", "bad.mlpackage"),
        ("parity check 'bad", "bad.mlpackage"),
        ("", "bad.mlpackage"),
    ],
)
def test_the_package_that_was_judged_is_diagnosed_and_no_fresh_conversion(
    typed: str, path: str
) -> None:
    """A broken package was sought in a sound one: "as good as it has to be"."""
    bad = check("conversion", "fail", tensor="freq")
    provenance = {"packages": {"bad.mlpackage": {"dirHash": "ab"}}, "command": typed}
    commands = explain(run_with(bad, provenance=provenance)).commands
    assert f"parity diagnose {path} --subject mini --case song" in commands
    assert not any(command.startswith("parity convert") for command in commands)
    own = explain(run_with(bad)).commands  # a run that made its packages itself
    assert any(command.startswith("parity convert mini") for command in own)


def test_rounding_after_what_is_exact_is_no_loss() -> None:
    levels = {"norm.time": math.inf, "tencoder.0": 162.1, "tencoder.1": 159.0}
    points = tuple(
        OperationProfile(index, name, "tap", name, "fp32", {"snr_db": level})
        for index, (name, level) in enumerate(levels.items())
    )
    series = TapSeries("mini", "song", "fp32", "mil", "storage", "PyTorch", points)
    bad = check("conversion", "fail", tensor="freq")
    said = words(run_with(bad, artefacts=Artefacts(taps=(series,))))
    assert "the largest loss" not in said
    assert "no tap under 120 dB loses 6 dB to the one before it" in said


def test_a_broken_harness_ends_the_path() -> None:
    bad = check("conversion", "fail", tensor="freq")
    found = explain(run_with(bad, problems=("a worker died",)))
    assert len(found.steps) == 1
    assert "a worker died" in found.steps[0].evidence
    assert "parity doctor" in found.commands


@pytest.mark.parametrize("layer", LAYERS)
def test_the_lowest_layer_that_fails_is_looked_at(layer: str) -> None:
    above = LAYERS[LAYERS.index(layer) :]
    run = run_with(*(check(name, "fail", tensor="freq", stem="drums") for name in above[::-1]))
    found = explain(run)
    assert found.steps[1].answer.startswith(layer)
    assert focus_of(run) == run.checks[-1].labels


def test_the_transform_is_not_blamed_where_the_network_was_not_compared() -> None:
    """What `check --layer end_to_end` writes says nothing of the network inside."""
    bad = check("end_to_end", "fail", "end_to_end", stem="drums")
    alone = replace(run_with(), checks=(bad,))
    assert "was not compared, so it is not known where that begins" in words(alone)
    assert "look at the transform" not in words(alone)
    assert "look at the transform" in words(run_with(bad))


def test_what_a_package_holds_comes_before_its_values() -> None:
    run = run_with(
        check("conversion", "fail", "expected_precision_fp32", tensor="tap encoder.1"),
        check("conversion", "fail", "weights", what="constants"),
    )
    assert "its constants are not the subject's" in words(run)


def test_another_program_ends_the_path_and_is_not_called_a_matter_of_precision() -> None:
    run = run_with(
        check("conversion", "fail", "expected_precision_fp32", tensor="tap encoder.0"),
        check("conversion", "fail", "program", what="operations of another program"),
    )
    found = explain(run)
    assert "it is another program" in found.steps[-1].answer
    assert found.commands == ("parity convert mini --precision fp32 --out x.mlpackage",)


def test_the_first_tap_that_fails_is_named_with_the_last_one_that_holds() -> None:
    bound = "expected_precision_fp32"
    run = run_with(
        check("conversion", "fail", tensor="freq"),
        check("conversion", "pass", bound, tensor="tap encoder.0"),
        check("conversion", "fail", bound, tensor="tap encoder.1"),
        check("conversion", "fail", bound, tensor="tap encoder.2"),
        check("conversion", "pass", bound, tensor="tap encoder.0", case="noise"),
    )
    text = words(run)
    assert "At the tap 'encoder.1'" in text
    assert "'encoder.0', holds" in text


def test_the_largest_loss_along_the_network_is_found_on_its_own_branch() -> None:
    levels = {
        "encoder.0": 75.0,
        "tencoder.0": 50.0,
        "encoder.1": 74.0,
        "tencoder.1": 49.0,
        "encoder.2": 61.0,
        "tencoder.2": 48.0,
    }
    points = tuple(
        OperationProfile(index, name, "tap", name, "fp16", {"snr_db": level})
        for index, (name, level) in enumerate(levels.items())
    )
    series = TapSeries("mini", "song", "fp16", "mil", "storage", "PyTorch", points)
    run = run_with(
        check("conversion", "fail", recipe="fp16", tensor="freq"),
        artefacts=Artefacts(taps=(series,), network=(outline_of("mini"),)),
    )
    found = words(run)
    alone = replace(run, artefacts=Artefacts(taps=(series,)))
    assert "between 'encoder.1' (74.0 dB) and 'encoder.2' (61.0 dB)" in found
    assert "between 'encoder.0' (75.0 dB) and 'tencoder.0' (50.0 dB)" in words(alone)  # one branch


def test_suggested_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    bad = check("conversion", "fail", recipe="fp16", tensor="freq")
    commands = explain(run_with(bad)).commands
    assert any(
        command.startswith("parity diagnose x.mlpackage --subject mini") for command in commands
    )
    for command in commands:
        program, name, *_ = command.split()
        assert program == "parity"
        assert main([name, "--help"]) == 0
        help_text = capsys.readouterr().out
        for word in command.split():
            assert not word.startswith("--") or word in help_text


@pytest.mark.parametrize("layer", ["stft", "end_to_end"])
def test_two_files_are_followed_by_no_command_about_a_package(layer: str) -> None:
    """A pack's result or a stem was made by nothing that this project could execute."""
    bad = replace(check(layer, "fail"), labels={"tensor": "stft"})
    run = Run(Profile("compare", (), ()), (bad,))
    assert explain(run).commands == ()


def test_a_package_with_wrong_weights_is_explained_down_to_its_operation(
    small: VirtualPrecision, signal: Signal
) -> None:
    half = small.model(small.fp32_for(()))
    conv = find(half, type="conv")[0]
    wrong = edited(half, with_constant(half, conv, "weight", lambda weight: 1e4 * weight))
    loud = {"x": 4 * signal["x"]}
    text = words(
        run_with(check("conversion", "fail", recipe="fp16", tensor="freq")),
        diagnosis=three_way(small.base, wrong, loud),
        headroom=audit_headroom(wrong, {"hot": loud}),
    )
    assert "conv 'conv', by its computation" in text
    assert "Its inputs were right" in text
    assert "conv 'conv': range, reaches" in text
    assert " operations that compute floats, cast or lose integers (" in text


def test_rounding_alone_accuses_nobody(small: VirtualPrecision, signal: Signal) -> None:
    half = small.model(small.fp32_for(()))
    run = run_with(check("conversion", "fail", recipe="fp16", tensor="freq"))
    found = explain(run, diagnosis=three_way(small.base, half, signal))
    assert found.steps[-1].answer.startswith("None by itself")
    assert "if each operation of this package rounded ideally" in found.steps[-2].evidence[0], (
        "what is expected here is another number than the one predicted for the precision"
    )
    tune = "parity tune mini --case song --min-snr 60 --rtol 0.001 --atol 0.0001 --out tuned.toml"
    assert tune in found.commands


def test_the_command_reads_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "run.json"
    document.write_text(run_with(check("surgery", "fail", tensor="tap encoder.0")).to_json())
    assert main(["explain", str(document)]) == 0
    assert "surgery; ops, stft below it hold" in capsys.readouterr().out
    document.write_text("{}")
    assert main(["explain", str(document)]) == 2
