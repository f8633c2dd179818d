"""If these fail, ``parity check --reference`` passes a wrong package, or fails a right one."""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import mil
from harness._coremltools import import_coremltools
from harness.cli.app import main
from harness.conversion import load_recipe
from harness.conversion.quiet import quiet_coremltools
from harness.conversion.survey import base_value
from harness.faults.operators import mutants
from harness.mil import Model
from harness.mil.editing import (
    constant,
    edited,
    find,
    key,
    known_value,
    with_constant,
    with_inputs,
    with_type,
)
from harness.mil.saving import save_package
from harness.verdicts import Check, Gate, Run, Verdict
from harness.workbench.check_pair import PairInquiry, check_pair
from harness.workbench.explaining import explain_package
from harness.workbench.sources import PackageSource
from suites.selftest.foreign.strangers import Stranger
from suites.selftest.lint.building import F32, Made
from suites.selftest.lint.examples import X

Captured = pytest.CaptureFixture[str]

LOOSE = ("--rtol", "0.02", "--atol", "0.002", "--min-snr", "50")
"""What the words' network holds in FP16: ten times the published tolerance."""


def judged(package: Path, reference: Path, inputs: Path | str, **asked: Any) -> Run:
    source = PackageSource(reference, (str(inputs),))
    inquiry = PairInquiry(package, source, **asked)
    return check_pair(inquiry, lambda what, done, total: None).finish(inquiry.provenance)


def saved(model: Model, path: Path) -> Path:
    save_package(path, model.plan.function, model.package.constants.array, model.metadata)
    return path


def by_gate(run: Run, name: str) -> Iterator[Check]:
    return (check for check in run.checks if check.gate is not None and check.gate.name == name)


@pytest.mark.parametrize(
    ("precision", "border"),
    [
        ("FLOAT32", np.float32),
        ("FLOAT16", np.float32),
        ("FLOAT16", np.float16),
        ("FLOAT32", np.float16),
    ],
)
def test_a_right_package_of_a_stranger_passes(
    precision: str, border: type, images: Stranger
) -> None:
    package = images.package(precision, border)
    run = judged(package, images.package(), images.inputs)
    assert run.verdict is Verdict.PASS, run.sentence()
    (program,) = by_gate(run, "program")
    assert program.outcome.metrics["value"] == 0
    uniform = (precision, border) == ("FLOAT32", np.float32)
    gate = "expected_precision_fp32" if uniform else "expected_precision"
    found = {check.labels["tensor"]: check for check in by_gate(run, gate)}
    assert set(found) == {"p", "mask", "worst tap"}
    if not uniform:  # the roundings that the package declares account for its error to the bit
        assert all(check.outcome.metrics["value"] == 0.0 for check in found.values())


def test_what_is_mixed_operation_by_operation_is_predicted_to_the_bit(images: Stranger) -> None:
    wide = ("softmax", "conv")
    package = images.package(lambda op: op.op_type not in wide, name="mixed")
    assert {str(o.dtype) for o in mil.load(package).operations if o.type == "conv"} == {"fp32"}
    run = judged(package, images.package(), images.inputs)
    assert run.verdict is Verdict.PASS, run.sentence()
    assert all(c.outcome.metrics["value"] == 0 for c in by_gate(run, "expected_precision"))


@pytest.mark.parametrize("border", [np.float32, np.float16])
def test_integers_in_and_out_are_compared_exactly(
    border: type, words: Stranger, capsys: Captured
) -> None:
    package, reference = words.package("FLOAT16", border), words.package()
    command = ["check", str(package), "--reference", str(reference)]
    assert main([*command, "--inputs", str(words.inputs), *LOOSE, "--json"]) == 0
    checks = {c["id"].split("/")[1]: c for c in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["integers"]["observed"] == "exact"


def test_one_wrong_integer_is_red_under_any_tolerance(
    words: Stranger, tmp_path: Path, capsys: Captured
) -> None:
    model = mil.load(words.package())
    (best,) = find(model, type="reduce_argmax")
    wrong = edited(model, with_type(best, "reduce_argmin"))
    package = saved(wrong, tmp_path / "wrong.mlpackage")
    command = ["check", str(package), "--reference", str(words.package())]
    command += ["--inputs", str(words.inputs), "--min-snr", "0", "--rtol", "9", "--atol", "9"]
    assert main([*command, "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    (found,) = (check for check in checks if check["id"].startswith("conversion/integers/"))
    assert found["verdict"] == "fail"
    assert "mismatched elements: 3 / 3" in found["reason"]


def planted(model: Model) -> Iterator[tuple[str, str, Model]]:
    """Yield one program for each kind of fault that an operation of the model can have."""
    seen: set[str] = set()
    for index, operation in enumerate(model.operations):
        for mutant in mutants(model, index):
            if mutant.change in seen or operation.type == "cast":
                continue
            seen.add(mutant.change)
            before = {key(operation): mutant.operations[:-1]}
            program = edited(model, mutant.operations[-1], before=before)
            yield mutant.change, key(operation), program


@pytest.mark.parametrize("precision", ["FLOAT32", "FLOAT16"])
def test_every_kind_of_planted_fault_is_red(
    precision: str, images: Stranger, tmp_path: Path
) -> None:
    """Whatever bounds somebody gives the outputs: something else than those must be red."""
    model = mil.load(images.package(precision))
    missed, made = [], 0
    for number, (change, name, program) in enumerate(planted(model)):
        package = saved(program, tmp_path / f"{number}.mlpackage")
        run = judged(package, images.package(), images.inputs)
        made += 1
        gates = {check.gate.name for check in run.failing if check.gate is not None}
        if not gates - {"conversion"}:
            missed.append(f"{change} at {name}: {run.sentence()}")
    assert made >= 12
    assert not missed


def wrong_weight(images: Stranger, folder: Path) -> tuple[Path, str]:
    """Return a package in FP16 with two rows of one weight exchanged, and the operation's name."""
    model = mil.load(images.package("FLOAT16"))
    conv = find(model, type="conv")[1]
    wrong = edited(model, with_constant(model, conv, "weight", lambda w: w[::-1].copy()))
    return saved(wrong, folder / "wrong weight.mlpackage"), base_value(key(conv))


def test_a_planted_fault_is_named_and_the_next_steps_run_as_printed(
    images: Stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    package, name = wrong_weight(images, tmp_path)
    monkeypatch.chdir(tmp_path)
    command = ["check", str(package), "--reference", str(images.package())]
    command += ["--inputs", str(images.inputs), "--report", "page", "--explain"]
    assert main(command) == 1
    assert "changed constant weight in conv 'var_35'" in capsys.readouterr().out
    page = Path("page", "index.html").read_text()
    assert "Worst output" in page
    assert "Worst stem" not in page
    run = Path("page", "run.json")
    assert main(["explain", str(run), "--package", str(package), "--json"]) == 0
    commands = json.loads(capsys.readouterr().out)["commands"]
    assert [words.split()[1] for words in commands] == ["diagnose", "headroom", "sensitivity"]
    codes = [main(shlex.split(words)[1:]) for words in commands]
    assert codes == [1, 0, 0]
    assert f"conv '{name}'" in capsys.readouterr().out


def test_the_three_way_diagnosis_names_the_operation(
    images: Stranger, tmp_path: Path, capsys: Captured
) -> None:
    package, name = wrong_weight(images, tmp_path)
    given = ["--reference", str(images.package()), "--inputs", str(images.inputs)]
    assert main(["diagnose", str(package), *given, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["conclusion"] == "another computation"
    assert (found["culprits"], found["unmatched"]) == ([name], [])
    assert main(["diagnose", str(images.package("FLOAT16")), *given]) == 0
    assert "0 values have no counterpart" in capsys.readouterr().out


def test_another_networks_package_is_red_before_anything_runs(
    images: Stranger, words: Stranger
) -> None:
    run = judged(words.package("FLOAT16"), images.package(), images.inputs)
    assert run.verdict is Verdict.FAIL
    (check,) = by_gate(run, "contract")
    assert "words: int32[1, 3]" in check.outcome.reason
    assert {c.gate.name for c in run.checks if c.gate} == {"contract", "lint"}


def test_a_recipe_that_the_package_has_not_is_red(images: Stranger, tmp_path: Path) -> None:
    run = judged(
        images.package("FLOAT16"), images.package(), images.inputs, recipe=load_recipe("fp32")
    )
    (audit,) = by_gate(run, "audit")
    assert audit.verdict is Verdict.FAIL
    assert "differences from the recipe" in audit.outcome.reason


def compressed(package: Path, out: Path, mode: str) -> Path:
    """Return a package with its weights in 8 bits, as coremltools stores them."""
    ct = import_coremltools()
    optimize = importlib.import_module("coremltools.optimize.coreml")
    how = optimize.OpLinearQuantizerConfig(mode=mode, weight_threshold=16)
    with quiet_coremltools():
        model = ct.models.MLModel(str(package), skip_model_load=True)
        config = optimize.OptimizationConfig(global_config=how)
        optimize.linear_quantize_weights(model, config).save(str(out))
    return out


WIDE = {"conversion": Gate("conversion", "8 bits", min_snr_db=30.0)}


@pytest.mark.parametrize("precision", ["FLOAT32", "FLOAT16"])
def test_compressed_weights_are_predicted_and_their_numbers_looked_at(
    precision: str, images: Stranger, tmp_path: Path
) -> None:
    package = images.package(precision)
    narrow = compressed(package, tmp_path / "int8.mlpackage", "linear_symmetric")
    run = judged(narrow, images.package(), images.inputs, bounds=WIDE)
    assert run.verdict is Verdict.PASS, run.sentence()
    assert all(c.outcome.metrics["value"] == 0 for c in by_gate(run, "expected_precision"))
    assert len(list(by_gate(run, "weights"))) == 1

    model = mil.load(narrow)
    weight = find(model, type="constexpr_affine_dequantize")[1]
    data = known_value(model, weight, "quantized_data")
    assert isinstance(data, np.ndarray)
    turned = with_inputs(weight, quantized_data=constant(data[::-1].copy(), mil.DataType.INT8))
    wrong = saved(edited(model, turned), tmp_path / "wrong.mlpackage")
    (check,) = by_gate(judged(wrong, images.package(), images.inputs, bounds=WIDE), "weights")
    assert check.verdict is Verdict.FAIL
    assert "1 compressed weights are not those of the reference" in check.outcome.reason


def test_weights_of_which_nobody_knows_what_is_right_are_not_evaluated(
    images: Stranger, tmp_path: Path
) -> None:
    package = compressed(images.package(), tmp_path / "uint8.mlpackage", "linear")
    run = judged(package, images.package(), images.inputs, bounds=WIDE)
    assert run.verdict is Verdict.NOT_EVALUATED
    (check,) = by_gate(run, "weights")
    assert "it is not known what 3 compressed weights should be" in check.outcome.reason


def silence(shape: tuple[int, ...], path: Path) -> Path:
    np.savez(path, x=np.zeros(shape, np.float32))
    return path


def tanh(mb: Any, x: Any) -> Any:
    return mb.tanh(x=x, name="y")


def test_silence_proves_nothing(tmp_path: Path) -> None:
    package = Made(tanh, X).write(tmp_path / "tanh.mlpackage")
    run = judged(package, package, silence(X["x"][0], tmp_path / "zeros.npz"))
    assert run.verdict is Verdict.NOT_EVALUATED
    assert "give other inputs" in run.sentence()


def branches(mb: Any, x: Any) -> Any:
    positive = mb.greater(x=mb.reduce_sum(x=x, keep_dims=False), y=F32(0))
    one, other = (lambda: mb.tanh(x=x)), (lambda: mb.sigmoid(x=x))
    return mb.cond(pred=positive, _true_fn=one, _false_fn=other, name="y")


def test_what_its_precision_allows_is_not_known_of_branches(tmp_path: Path) -> None:
    package = Made(branches, X).write(tmp_path / "branches.mlpackage")
    run = judged(package, package, "random:1")
    assert run.verdict is Verdict.NOT_EVALUATED, run.sentence()
    source = PackageSource(package, ("random:1",))
    assert "has blocks" in explain_package(run, package, source).steps[-1].answer
    assert all(check.verdict is Verdict.PASS for check in by_gate(run, "conversion"))
    assert "has blocks" in run.sentence()


def test_a_reference_that_is_no_fp32_is_bad_input(images: Stranger, capsys: Captured) -> None:
    half = str(images.package("FLOAT16"))
    words = ["check", half, "--reference", half, "--inputs", str(images.inputs)]
    assert main(words) == 2
    assert "is not all FP32" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--reference X.mlpackage --inputs"),
        (["--subject", "mini", "--inputs", "random:1"], "give the one or the other"),
        (["--reference", "mini", "--inputs", "random:1"], "is no .mlpackage"),
        (["--reference", "@"], "its inputs"),
        (["--reference", "@", "--inputs", "random:x"], "has no seed"),
        (["--reference", "@", "--inputs", "nowhere.npz"], "nowhere.npz does not exist"),
        (["--reference", "@", "--inputs", "random:1", "--case", "song"], "the one or the other"),
        (["--reference", "@", "--inputs", "random:1", "--inputs", "random:1"], "given twice"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    words: list[str], said: str, images: Stranger, capsys: Captured
) -> None:
    package = str(images.package())
    given = [package if word == "@" else word for word in words]
    assert main(["check", package, *given]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert len(shown) < 600


def test_inputs_of_another_shape_are_refused_before_anything_runs(
    images: Stranger, tmp_path: Path, capsys: Captured
) -> None:
    file = tmp_path / "in.npz"
    np.savez(file, x=np.zeros((1, 3, 9, 9), F32))
    package = str(images.package())
    assert main(["check", package, "--reference", package, "--inputs", str(file)]) == 2
    assert "is float32 [1, 3, 9, 9]" in capsys.readouterr().err


def test_a_folder_of_arrays_stands_for_a_file(words: Stranger, tmp_path: Path) -> None:
    folder = tmp_path / "arrays"
    folder.mkdir()
    with np.load(words.inputs) as arrays:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
    reference = words.package()
    one, other = (judged(reference, reference, given) for given in (words.inputs, folder))
    assert one.verdict is other.verdict is Verdict.PASS
    metrics = [[c.outcome.metrics for c in by_gate(run, "conversion")] for run in (one, other)]
    assert metrics[0] == metrics[1]
