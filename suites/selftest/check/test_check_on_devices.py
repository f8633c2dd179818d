"""If these fail, `parity check --device` makes a verdict of a prediction, or misses a capture's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import mil
from harness._coremltools import import_coremltools
from harness.captures import Capture, CaptureError
from harness.cli import main
from harness.cli.devices import print_devices
from harness.errors import ParityError
from harness.verdicts import Check, Verdict
from harness.verdicts.rows.devices import DevicePrediction
from harness.workbench import Workbench
from harness.workbench.check import DEVICE_STEPS, Inquiry, check_package
from harness.workbench.on_devices import Question, device_rows
from suites.ops.packages import write_package
from suites.selftest.precision.test_placement import program


class Network:
    """No more than what is asked of one: it has no stems."""

    sources: tuple[str, ...] = ()
    interface = SimpleNamespace(outputs={"y": (50, 8)})


def model_of(path: Path, dtype: str = "fp16") -> mil.Model:
    """A GELU behind a matrix product with a bias."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    held, number = {"fp16": (types.fp16, np.float16), "fp32": (types.fp32, np.float32)}[dtype]
    weight = np.random.default_rng(0).standard_normal((8, 64)).astype(number) / 8
    made = Program()
    with Function({"x": mb.placeholder((50, 64), held)}, ct.target.iOS18) as function:
        y = mb.linear(x=function.inputs["x"], weight=weight, bias=np.ones(8, number))
        function.set_outputs([mb.gelu(x=y, mode="EXACT", name="y")])
    made.add_function("main", function)
    return mil.load(write_package(made, path / "p.mlpackage"))


X = np.random.default_rng(1).standard_normal((50, 64)).astype(np.float16)
LABELS = {"subject": "s", "case": "noise", "recipe": "r", "engine": "mil", "numerics": "storage"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> mil.Model:
    return model_of(tmp_path_factory.mktemp("devices"))


def question(model: mil.Model) -> Question:
    expected = model.predict({"x": X}, numerics="float64")
    wide = {name: value.astype(np.float16) for name, value in expected.items()}
    return Question(model, Network(), wide, {"x": X}, LABELS)  # type: ignore[arg-type]


def rows_of(
    model: mil.Model, device: str, **how: Any
) -> tuple[list[Check], list[DevicePrediction]]:
    rows = list(device_rows(question(model), device, **how))
    checks = [row for row in rows if isinstance(row, Check)]
    return checks, [row for row in rows if isinstance(row, DevicePrediction)]


def test_a_prediction_is_measured_and_never_gates(model: mil.Model) -> None:
    checks, _ = rows_of(model, "ane-m1")
    assert [check.labels["tensor"] for check in checks] == ["y"]
    assert {check.labels["numerics"] for check in checks} == {"ane-m1"}
    assert not any(check.gating for check in checks)


@pytest.mark.parametrize(
    ("device", "dominant"),
    [("ane-m1", "tables"), ("cpu-bnns", "accumulation"), ("gpu", "rounding to FP16")],
)
def test_it_says_what_dominates_how_far_unknowns_reach_and_what_it_rests_on(
    device: str, dominant: str, model: mil.Model
) -> None:
    _, (row,) = rows_of(model, device)
    assert row.dominant == dominant
    assert row.worst.low_db <= row.worst.assumed_db <= row.worst.high_db
    assert len(row.variants) >= 2
    assert row.count("measured")
    assert row.count("unknown")
    assert all(claim.source for claim in row.claims)


def test_a_band_is_around_the_device_that_was_asked_for(model: mil.Model) -> None:
    """Else a bias that is said to be added wide is not, in nearly all of the band."""
    _, (row,) = rows_of(model, "gpu, bias=fp16")
    assert row.variants
    assert all(one.what.startswith("gpu, bias=fp16, ") for one in row.variants)


def test_the_terminal_names_what_is_behind_each_end_of_a_band(
    model: mil.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    _, (row,) = rows_of(model, "gpu")
    print_devices([row])
    said = " ".join(capsys.readouterr().out.split())
    low = min(row.variants, key=lambda one: one.worst_db)
    assert low.worst_db < row.worst.assumed_db
    assert f"the worst stem has at least {low.worst_db:.2f} dB as {low.what}, at most " in said


@pytest.mark.parametrize("placement", ["", "worst"])
def test_what_takes_minutes_tells_how_far_it_is(placement: str, model: mil.Model) -> None:
    told: list[tuple[int, int]] = []
    rows_of(model, "ane-m1", placement=placement, advance=lambda *now: told.append(now))
    (total,) = {total for _, total in told}
    done = [number for number, _ in told]
    assert done == list(range(len(done)))
    assert 1 < len(done) <= total
    assert placement or total == len(model.plan.steps)


def test_a_check_moves_on_while_it_predicts_devices(
    package: Path, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take most of the time, and the terminal stood still at the step of the case."""

    def predicted(*_: Any, advance: Callable[[int, int], None], **__: Any) -> Iterator[Check]:
        for done in range(10):
            advance(done, 10)
        yield from ()

    monkeypatch.setattr("harness.workbench.check.device_rows", predicted)
    told: list[tuple[str, int, int]] = []
    inquiry = Inquiry(package, "mini", ("quiet", "silence"), devices=("ane-m1", "gpu"))
    check_package(bench, inquiry, lambda *now: told.append(now))
    assert {total for _, _, total in told} == {1 + 2 + 2 * 2 * DEVICE_STEPS}
    done = [number for _, number, _ in told]
    assert all(before < after for before, after in pairwise(done))
    parts = [number for what, number, _ in told if what == "gpu"]
    assert len(parts) == 2 * 10
    assert parts[9] - parts[0] == 9 * DEVICE_STEPS // 10
    assert done[-1] < 1 + 2 + 2 * 2 * DEVICE_STEPS


@pytest.mark.parametrize("placement", ["ane", "gpu", "cpu"])
def test_a_split_is_executed_on_the_units_of_the_machine(placement: str, model: mil.Model) -> None:
    checks, (row,) = rows_of(model, "ane-m1", placement=placement)
    assert not any(check.gating for check in checks)
    assert row.placement == placement
    alone = {"ane": "ane-m1", "gpu": "gpu", "cpu": "cpu-bnns"}[placement]
    _, (whole,) = rows_of(model, alone)
    assert row.worst.assumed_db == whole.worst.assumed_db  # each of them can run all of it
    assert "2 of 2 operations" in row.note


def test_the_worst_split_is_under_each_unit(model: mil.Model) -> None:
    _, (floor,) = rows_of(model, "ane-m1", placement="worst")
    units = [rows_of(model, "ane-m1", placement=unit)[1][0] for unit in ("ane", "gpu", "cpu")]
    assert floor.worst.assumed_db <= min(row.worst.assumed_db for row in units)


@pytest.mark.parametrize("placement", ["", "ane", "worst"])
def test_silence_has_no_prediction(placement: str, model: mil.Model) -> None:
    silent = Question(model, Network(), {"y": np.zeros((50, 8))}, {"x": X}, LABELS)  # type: ignore[arg-type]
    rows = device_rows(silent, "ane-m1", placement=placement)
    assert not [row for row in rows if isinstance(row, DevicePrediction)]


def test_a_capture_of_silence_is_no_green_one(model: mil.Model) -> None:
    silent = Question(model, Network(), {"y": np.zeros((50, 8))}, {"x": X}, LABELS)  # type: ignore[arg-type]
    *_, verdict = device_rows(silent, "gpu", capture=captured(model, "gpu"))
    assert isinstance(verdict, Check)
    assert (verdict.gating, verdict.verdict) == (True, Verdict.NOT_EVALUATED)
    assert "noise is silent" in verdict.outcome.reason


@pytest.mark.parametrize("placement", ["", "ane", "worst"])
def test_a_package_in_fp32_is_the_same_on_every_unit(placement: str, tmp_path: Path) -> None:
    whole = model_of(tmp_path, "fp32")
    inputs = {"x": X.astype(np.float32)}
    asked = Question(whole, Network(), whole.predict(inputs, numerics="float64"), inputs, LABELS)  # type: ignore[arg-type]
    (row,) = [
        row
        for row in device_rows(asked, "ane-m1", placement=placement)
        if isinstance(row, DevicePrediction)
    ]
    assert row.worst.assumed_db > 120
    broken = Capture.of(inputs, {"y": np.zeros((50, 8), np.float32)})
    *_, verdict, _ = device_rows(asked, "ane-m1", capture=broken)
    assert isinstance(verdict, Check)
    assert "the program has no operation in FP16" in verdict.outcome.reason


@pytest.mark.parametrize("placement", ["", "ane", "worst"])
def test_branches_are_refused_and_not_left_out(placement: str, tmp_path: Path) -> None:
    def branching(mb: Any, x: Any) -> Any:
        positive = mb.greater(x=mb.reduce_sum(x=x, axes=[0, 1]), y=np.float16(0))
        branches = (lambda: mb.gelu(x=x)), (lambda: mb.sigmoid(x=x))
        return mb.cond(pred=positive, _true_fn=branches[0], _false_fn=branches[1], name="y")

    asked = question(program(branching, (50, 64), tmp_path))
    with pytest.raises(ParityError, match=r"cond 'y' .*has blocks, .* --numerics ane-m1"):
        list(device_rows(asked, "ane-m1", placement=placement))


def captured(model: mil.Model, hidden: str, operation: str = "") -> Capture:
    """Return what a hidden device makes: one operation otherwise than a GPU, or all of them."""
    made = model.predict(
        {"x": X},
        numerics="gpu" if operation else hidden,
        operation_numerics=lambda o: hidden if o.type == operation else None,
    )
    return Capture.of({"x": X}, made, compute_unit="CPU_AND_GPU", device="hidden")


@pytest.mark.parametrize("hidden", ["gpu", "gpu, normalisation=stages", "gpu, bias=fp16"])
def test_a_capture_within_the_band_is_green(hidden: str, model: mil.Model) -> None:
    checks, (row,) = rows_of(model, "gpu", capture=captured(model, hidden))
    (verdict,) = [check for check in checks if check.gating]
    assert verdict.verdict is Verdict.PASS
    assert row.levels[0].captured_db is not None
    assert not row.note


@pytest.mark.parametrize(
    ("operation", "hidden", "type_"),
    [("gelu", "ane-m1", "gelu"), ("linear", "cpu-bnns", "linear")],
)
def test_a_capture_under_the_band_is_red_and_says_which_operation(
    operation: str, hidden: str, type_: str, model: mil.Model
) -> None:
    checks, (row,) = rows_of(model, "gpu", capture=captured(model, hidden, operation))
    (verdict,) = [check for check in checks if check.gating]
    assert verdict.verdict is Verdict.FAIL
    assert f"as if {type_} " in verdict.outcome.reason
    assert "explains 100 %" in verdict.outcome.reason
    assert row.note in verdict.outcome.reason


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_capture_that_broke_is_red_and_blamed_on_nothing(value: float, model: mil.Model) -> None:
    made = captured(model, "gpu")
    made.outputs["y"][3, 4] = value
    checks, (row,) = rows_of(model, "gpu", capture=made)
    (verdict,) = [check for check in checks if check.gating]
    assert verdict.verdict is Verdict.FAIL
    assert "1 of its values are infinite or NaN" in verdict.outcome.reason
    assert row.levels[0].captured_db == -np.inf


@pytest.mark.parametrize(
    ("outputs", "found"),
    [
        ({"z": np.zeros((50, 8), np.float16)}, "none"),
        ({"y": np.zeros((3, 8), np.float16)}, r"float16 of shape \[3, 8\]"),
        ({"y": np.zeros((50, 1), np.float16)}, r"float16 of shape \[50, 1\]"),
        ({"y": np.zeros((50, 8), np.int32)}, r"int32 of shape \[50, 8\]"),
    ],
    ids=["name", "rows", "broadcast", "type"],
)
def test_a_capture_of_another_package_is_refused(
    outputs: dict[str, np.ndarray], found: str, model: mil.Model
) -> None:
    said = rf"output 'y' as floating-point numbers of shape \[50, 8\], found {found}; record"
    with pytest.raises(CaptureError, match=said):
        rows_of(model, "gpu", capture=Capture.of({"x": X}, outputs))


def test_a_capture_of_other_inputs_is_refused(model: mil.Model) -> None:
    other = Capture.of({"x": X + 1}, model.predict({"x": X}), device="hidden")
    with pytest.raises(CaptureError, match="recorded with other inputs"):
        rows_of(model, "gpu", capture=other)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "ane-m7"], "ane-m7"),
        (["--device", "gpu", "--audio", "song.wav"], "--device goes without --audio"),
        (["--placement", "worst"], "give one with --device"),
        (["--device", "gpu", "--placement", "tpu"], "unknown placement 'tpu'"),
        (["--device", "gpu", "--capture", "c.safetensors"], "one --device and one --case"),
    ],
)
def test_what_can_t_be_predicted_is_refused_before_anything_runs(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", str(tmp_path / "x.mlpackage"), "--subject", "mini", *arguments]
    assert main(command) == 2
    assert said in capsys.readouterr().err
