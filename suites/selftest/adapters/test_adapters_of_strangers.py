"""If these fail, people whose packages another converter made get no verdict, or a wrong one."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from harness.adapters.files import adapter_path
from harness.cli import main
from harness.conversion import load_recipe
from harness.faults.operators import mutants
from harness.mil import Model, load
from harness.mil.editing import edited
from harness.mil.saving import save_package
from harness.subjects import Subject
from harness.verdicts import Run, Verdict
from suites.selftest.adapters.strangers import STRANGERS, Named, Stranger, convert, subject_of

Judge = Callable[..., Run]
Captured = pytest.CaptureFixture[str]

NEEDED = {"contract", "audit", "lint", "conversion", "repeat"}


class Made(NamedTuple):
    """A stranger's package, and the network in it."""

    stranger: Stranger
    subject: Subject
    package: Path


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.exhaustive) for name in STRANGERS],
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    stranger, folder = STRANGERS[request.param], tmp_path_factory.mktemp("stranger")
    subject = subject_of(folder, **stranger.changes)
    return Made(stranger, subject, convert(stranger, subject, folder / "x.mlpackage"))


def failing(run: Run) -> set[str]:
    checks = [c for c in run.checks if c.gating and c.verdict is Verdict.FAIL]
    return {check.gate.name for check in checks if check.gate}


def test_a_layout_is_adapted_without_a_hand_written_line_and_judged_right(
    made: Made, golden_root: Path, judged: Judge, capsys: Captured
) -> None:
    """And in the same adapter, a planted fault is red."""
    stranger, subject, package = made
    words = ["adapt", str(package), "--subject", subject.name, "--golden-root", str(golden_root)]
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["written"]
    assert said["adapter"] == str(adapter_path(package))
    exact = not (stranger.half or stranger.fp16)
    assert min(said["snr_db"].values()) > (110 if exact else 45)

    judge = partial(judged, subject=subject.name)
    judge = partial(judge, recipe=load_recipe("fp16")) if stranger.fp16 else judge
    run = judge(package)
    gates = {check.gate.name for check in run.checks if check.gate and check.gating}
    expected = "expected_precision_fp32" if exact else "expected_precision"
    assert {*NEEDED, expected} <= gates
    assert gates.isdisjoint({"program", "weights"})
    assert ("end_to_end" in gates and "quality" in gates) == (len(stranger.shows) != 1 or (
        stranger.shows == ("stems",)
    ))  # fmt: skip
    if stranger.fp16:  # which no more than ours comes to 60 dB, and is as good as FP16 can be
        assert failing(run) <= {"conversion", "end_to_end", "quality"}
    else:
        assert run.verdict is Verdict.PASS, run.sentence()
    (row,) = (row for row in run.artefacts.explanation if "adapter" in row.steps[0].answer)
    assert list(row.steps[0].evidence) == said["words"]

    assert failing(judge(planted(package, "result x 1.01"))) - failing(run)
    if exact:
        assert failing(judge(planted(package, "tanh approximation"))) == {expected}


def planted(package: Path, change: str) -> Path:
    """Return a package with one operation of the program mutated, in the adapter of the sound one.

    The last one that can be: what stands at the end is normalised away by nothing.
    """
    model = load(package)
    mutant = last_mutant(model, change)
    function = edited(model, *mutant[-1:], before={mutant[-1].outputs[0].name: mutant[:-1]})
    out = package.with_name(change.replace(" ", "_") + ".mlpackage")
    save_package(out, function.plan.function, model.package.constants.array, model.package.metadata)
    adapter_path(out).write_text(adapter_path(package).read_text())
    return out


def last_mutant(model: Model, change: str) -> tuple[object, ...]:
    kinds = {"conv", "conv_transpose", "gelu"}
    for index in reversed(range(len(model.operations))):
        if model.operations[index].type in kinds:
            for mutant in mutants(model, index):
                if mutant.change == change:
                    return mutant.operations
    raise AssertionError(f"nothing to mutate by {change}")


@pytest.mark.exhaustive
def test_exchanged_parts_are_red_in_the_adapter_of_a_sound_package(
    judged: Judge, golden_root: Path, tmp_path: Path
) -> None:
    """The likeliest bug of a layout: imaginary parts where real ones belong."""

    class Exchanged(Named):
        def forward(self, spectrogram: object, raw_audio: object) -> object:
            freq, time = super().forward(spectrogram, raw_audio)
            return freq[0].unflatten(1, (2, 2)).flip(2).flatten(1, 2)[None], time

    stranger = Stranger(Named, STRANGERS["FP16 in and out"].inputs, ("u", "v"))
    subject = subject_of(tmp_path)
    sound = convert(stranger, subject, tmp_path / "sound.mlpackage")
    wrong = convert(
        Stranger(Exchanged, stranger.inputs, stranger.outputs), subject, tmp_path / "x.mlpackage"
    )
    words = ["--subject", subject.name, "--golden-root", str(golden_root)]
    assert main(["adapt", str(sound), *words]) == 0
    adapter_path(wrong).write_text(adapter_path(sound).read_text())
    assert judged(sound, subject.name).verdict is Verdict.PASS
    assert {"conversion", "end_to_end"} <= failing(judged(wrong, subject.name))
    assert main(["adapt", str(wrong), *words]) == 2, "an adapter that is there is confirmed"


@pytest.mark.exhaustive
def test_separate_and_the_lab_take_a_package_in_its_adapter(
    golden_root: Path, tmp_path: Path, capsys: Captured
) -> None:
    subject = subject_of(tmp_path)
    package = convert(STRANGERS["Nyquist bin and edges"], subject, tmp_path / "x.mlpackage")
    song, given = tmp_path / "song.wav", tmp_path / "in.safetensors"
    noise = np.random.default_rng(1).standard_normal((9000, 2)).astype(np.float32)
    soundfile.write(song, 0.1 * noise, 8000, subtype="FLOAT")
    separate = ["separate", str(song), "--subject", subject.name, "--out"]
    assert main([*separate, str(tmp_path / "no"), "--package", str(package)]) == 2
    assert "'parity adapt' finds its layout" in capsys.readouterr().err

    adapt = ["adapt", str(package), "--subject", subject.name, "--golden-root", str(golden_root)]
    assert main([*adapt, "--inputs-out", str(given)]) == 0
    assert main([*separate, str(tmp_path / "torch")]) == 0
    for like in ([], ["--like", "demucs"]):
        assert main([*separate, str(tmp_path / "torch"), *like]) == 0
        assert main([*separate, str(tmp_path / "mil"), "--package", str(package), *like]) == 0
        for stem in subject.sources:
            ours, theirs = (
                soundfile.read(tmp_path / kind / f"{stem}.wav")[0] for kind in ("torch", "mil")
            )
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6)
    out = tmp_path / "out.safetensors"
    assert main(["predict", str(package), "--inputs", str(given), "--out", str(out)]) == 0
    check = ["check", str(package), "--subject", subject.name, "--case", "song", "--explain"]
    assert main([*check, "--golden-root", str(golden_root)]) == 2
    assert "--reference X32.mlpackage beside --subject" in capsys.readouterr().err
