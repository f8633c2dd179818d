"""If these fail, the lab's commands can't be asked about a package without its PyTorch model."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import mil
from harness._coremltools import import_coremltools
from harness.cli.app import main
from harness.conversion import audit_package, load_recipe
from harness.mil.editing import edited, find, with_type
from harness.mil.saving import save_package
from suites.selftest.foreign.strangers import Stranger
from suites.selftest.foreign.test_check_reference import by_gate, judged
from suites.selftest.mil.converting import converted

Captured = pytest.CaptureFixture[str]


def test_sensitivity_of_a_package_measures_its_outputs_and_no_stems(
    words: Stranger, capsys: Captured
) -> None:
    command = ["sensitivity", str(words.package()), "--inputs", str(words.inputs)]
    assert main([*command, "--precision", "fp16", "--probes", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measures"] == ["branch:hidden"]  # the integers have no error to be small
    assert {share["operation"] for share in found["operations"]} >= {"hidden", "input"}


def test_sensitivities_of_a_package_add_up_to_its_error(images: Stranger, capsys: Captured) -> None:
    command = ["sensitivity", str(images.package()), "--inputs", str(images.inputs)]
    assert main([*command, "--precision", "fp16", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    predicted, measured = (found[k]["in/branch:mask"] for k in ("predicted_db", "measured_db"))
    assert predicted == pytest.approx(measured, abs=3.0)


@pytest.mark.parametrize("network", ["images", "words"])
def test_what_is_tuned_from_a_package_holds_when_coremltools_converts_it(
    network: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: Captured
) -> None:
    """The selector knows operations by the names that coremltools gives them."""
    stranger: Stranger = request.getfixturevalue(network)
    recipe, made = tmp_path / "mine.toml", tmp_path / "mine.mlpackage"
    given = ["--inputs", str(stranger.inputs)]
    goal = ["--min-snr", "74", "--margin", "0.5"]  # FP16 throughout reaches 66 and 72 dB
    outputs = ["--out", str(recipe), "--package", str(made)]
    assert main(["tune", str(stranger.package()), *given, *goal, *outputs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "without a converter" in found["confirmed_by"]
    assert found["confirmation"]["furthest_db"] == 0.0
    assert audit_package(made, load_recipe(recipe)).verdict == "pass"

    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    assert spec is not None
    assert spec.loader is not None
    selector = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(selector)
    converted = stranger.package(selector.op_selector, name=f"tuned {network}")
    run = judged(converted, stranger.package(), stranger.inputs)
    (program,) = by_gate(run, "program")
    assert program.outcome.reason.endswith("within its bound")
    levels = [c.outcome.metrics["snr_db"] for c in by_gate(run, "conversion")]
    assert min(levels) > 74.5


def test_what_has_no_one_shape_is_confirmed_by_a_virtual_run(
    tmp_path: Path, capsys: Captured
) -> None:
    ct = import_coremltools()
    torch.manual_seed(0)
    takes = [ct.TensorType("x", (ct.RangeDim(1, 8, 2), 6), np.float32)]
    network = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.Tanh(), torch.nn.Linear(32, 9))
    package = converted(tmp_path / "x.mlpackage", network, takes, torch.randn(2, 6))
    command = ["tune", str(package), "--inputs", "random:2", "--min-snr", "60"]
    command += ["--out", str(tmp_path / "mine.toml")]
    assert main([*command, "--package", str(tmp_path / "mine.mlpackage")]) == 2
    assert "flexible shape" in capsys.readouterr().err
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "virtual run alone" in found["confirmed_by"]
    assert found["confirmation"]["audit"] == "pass"


def test_a_classifier_is_judged_and_has_no_error_in_db(tmp_path: Path, capsys: Captured) -> None:
    ct = import_coremltools()
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.Softmax(-1))
    packages = [
        converted(
            tmp_path / f"{precision}.mlpackage",
            network,
            [ct.TensorType("x", (1, 6), np.float32)],
            torch.randn(1, 6),
            classifier_config=ct.ClassifierConfig(["cat", "dog", "owl"]),
            compute_precision=ct.precision[precision],
        )
        for precision in ("FLOAT32", "FLOAT16")
    ]
    run = judged(packages[1], packages[0], "random:2")
    (label,) = by_gate(run, "integers")
    assert label.outcome.observed == "exact"
    assert len(list(by_gate(run, "conversion"))) == 1  # what each class gets
    for command in ("sensitivity", "diagnose"):
        more = ["--reference", str(packages[0])] if command == "diagnose" else []
        assert main([command, str(packages[0]), *more, "--inputs", "random:2"]) == 2
        assert "of which the lab has no measure" in capsys.readouterr().err
    command = ["capture", str(packages[0]), "--inputs", "random:2", "--out", str(tmp_path / "kit")]
    assert main(command) == 2
    assert "which neither recorder records" in capsys.readouterr().err
    assert not (tmp_path / "kit").exists()


def test_a_sweep_of_a_package_goes_on_where_it_stopped(
    images: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    command = ["sweep", str(images.package()), "--inputs", str(images.inputs)]
    command += ["--inputs", "random:3", "--precisions", "fp16,fp32", "--json"]
    command += ["--cache", str(tmp_path)]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    cells = {(cell["precision"], cell["case"]): cell["snr_db"] for cell in first["cells"]}
    assert set(cells) == {(p, c) for p in ("fp16", "fp32") for c in ("in", "random:3")}
    assert all(60 < cells["fp16", case]["branch:mask"] < 80 for case in ("in", "random:3"))
    monkeypatch.setattr("harness.workbench.sweeping._swept", None)  # who measures again, breaks
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == first


def test_other_inputs_are_another_cell(images: Stranger, tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "in.npz"
    command = ["sweep", str(images.package()), "--inputs", str(file), "--precisions", "fp16"]
    found = []
    for level in (1.0, 0.01):
        np.savez(file, x=np.full((1, 3, 8, 8), level, np.float32))
        assert main([*command, "--json", "--cache", str(tmp_path)]) == 0
        found.append(json.loads(capsys.readouterr().out)["cells"][0])
    assert found[0]["key"] != found[1]["key"]


def test_headroom_over_files_finds_the_loud_one(
    images: Stranger, tmp_path: Path, capsys: Captured
) -> None:
    for name, level in (("quiet", 1e-3), ("loud", 1e5)):
        np.savez(tmp_path / name, x=np.full((1, 3, 8, 8), level, np.float32))
    given = [w for n in ("quiet", "loud") for w in ("--inputs", str(tmp_path / f"{n}.npz"))]
    assert main(["headroom", str(images.package()), *given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cases"] == ["quiet", "loud"]
    first = next(o for o in found["operations"] if o["operation"] in found["at_risk"])
    assert (first["type"], first["risks"][0]["kind"], first["risks"][0]["case"]) == (
        "conv",
        "range",
        "loud",
    )


def test_reduce_against_the_reference_finds_the_planted_operation(
    images: Stranger, tmp_path: Path, capsys: Captured
) -> None:
    model = mil.load(images.package())
    (sigmoid,) = find(model, type="sigmoid")
    wrong = edited(model, with_type(sigmoid, "tanh"))
    package = tmp_path / "wrong.mlpackage"
    save_package(package, wrong.plan.function, wrong.package.constants.array)
    command = ["reduce", str(package), "--inputs", "random:5", "--fails-when", "snr<60"]
    command += ["--against", str(images.package()), "--out", str(tmp_path / "bug"), "--json"]
    assert main(command) == 0
    record = json.loads(capsys.readouterr().out)
    assert [row["type"] for row in record["operations"]] == ["tanh"]


def test_reduce_rounds_the_references_inputs_as_it_takes_them(
    images: Stranger, tmp_path: Path, capsys: Captured
) -> None:
    package = images.package("FLOAT16", np.float16)
    command = ["reduce", str(package), "--inputs", str(images.inputs), "--verify"]
    command += ["--against", str(images.package())]
    assert main([*command, "--fails-when", "snr<60"]) == 0
    assert main([*command, "--fails-when", "snr<90"]) == 1
    assert "output 'p'" in capsys.readouterr().out


def test_predict_draws_its_inputs_by_a_seed(
    words: Stranger, tmp_path: Path, capsys: Captured
) -> None:
    outs = [tmp_path / f"{number}.npz" for number in range(3)]
    for seed, out in zip((1, 1, 2), outs, strict=True):
        command = ["predict", str(words.package()), "--inputs", f"random:{seed}"]
        assert main([*command, "--out", str(out)]) == 0
    one, again, other = (np.load(out)["hidden"] for out in outs)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    capsys.readouterr()
    assert main(["compare", str(outs[0]), str(outs[1])]) == 0


@pytest.mark.parametrize("command", ["sensitivity", "headroom", "tune", "sweep"])
def test_a_package_without_inputs_says_what_it_takes(
    command: str, images: Stranger, tmp_path: Path, capsys: Captured
) -> None:
    more = {
        "tune": ["--out", str(tmp_path / "x.toml")],
        "sweep": ["--precisions", "fp16", "--cache", str(tmp_path)],
    }
    assert main([command, str(images.package()), *more.get(command, [])]) == 2
    shown = capsys.readouterr().err
    assert "takes x: fp32[1, 3, 8, 8]" in shown
    assert "--inputs in.safetensors" in shown


@pytest.mark.parametrize("command", ["sensitivity", "headroom", "diagnose"])
def test_inputs_go_with_packages_and_cases_with_subjects(
    command: str, images: Stranger, capsys: Captured
) -> None:
    package = str(images.package())
    subject = [package, "--subject", "mini"] if command == "diagnose" else ["mini"]
    assert main([command, *subject, "--inputs", "random:1"]) == 2
    assert "the subject mini takes --case" in capsys.readouterr().err
    model = [package, "--reference", package] if command == "diagnose" else [package]
    assert main([command, *model, "--inputs", "random:1", "--case", "song"]) == 2
    assert "--inputs or --case" in capsys.readouterr().err
