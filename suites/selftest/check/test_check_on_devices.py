"""If these fail, `parity check --device` makes a verdict of a prediction, or drops its band."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness import mil
from harness._coremltools import import_coremltools
from harness.cli import main
from harness.verdicts import Check
from harness.verdicts.rows.packages import Explanation
from harness.workbench.on_devices import device_rows
from suites.ops.packages import write_package


class Network:
    """No more than what is asked of one: it has no stems."""

    sources: tuple[str, ...] = ()
    interface = SimpleNamespace(outputs={"y": (50, 8)})


def model_of(path: Path) -> mil.Model:
    """A GELU behind a matrix product with a bias, in FP16."""
    ct = import_coremltools()
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    weight = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float16) / 8
    program = Program()
    with Function({"x": mb.placeholder((50, 64), types.fp16)}, ct.target.iOS18) as function:
        y = mb.linear(x=function.inputs["x"], weight=weight, bias=np.ones(8, np.float16))
        function.set_outputs([mb.gelu(x=y, mode="EXACT", name="y")])
    program.add_function("main", function)
    return mil.load(write_package(program, path / "p.mlpackage"))


@pytest.fixture
def rows(tmp_path: Path, request: pytest.FixtureRequest) -> list[Check | Explanation]:
    model = model_of(tmp_path)
    x = np.random.default_rng(1).standard_normal((50, 64)).astype(np.float16)
    expected = model.predict({"x": x}, numerics="float64")
    wide = {name: value.astype(np.float16) for name, value in expected.items()}
    labels = {"subject": "s", "case": "noise", "recipe": "r"}
    return list(device_rows(model, Network(), request.param, wide, {"x": x}, labels))  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", ["ane-m1"], indirect=True)
def test_a_prediction_is_measured_and_never_gates(rows: list[Check | Explanation]) -> None:
    checks = [row for row in rows if isinstance(row, Check)]
    assert [check.labels["tensor"] for check in checks] == ["y"]
    assert {check.labels["numerics"] for check in checks} == {"ane-m1"}
    assert not any(check.gating for check in checks)


@pytest.mark.parametrize(
    ("rows", "dominant"),
    [("ane-m1", "tables exact"), ("cpu-bnns", "accumulators wide")],
    indirect=["rows"],
)
def test_it_says_what_dominates_and_how_far_unknowns_reach(
    rows: list[Check | Explanation], dominant: str
) -> None:
    (found,) = [row for row in rows if isinstance(row, Explanation)]
    (step,) = found.steps
    assert step.question.startswith("What would ")
    assert step.question.endswith(" make of noise?")
    assert f"what costs most: {dominant}." in step.answer
    level, low, high = (float(part) for part in _numbers(step.answer))
    assert low <= level <= high
    assert any(line.startswith("worst with ") for line in step.evidence)
    assert "facts are measured" in step.evidence[-1]


def _numbers(text: str) -> list[str]:
    words = text.replace("(", "").split()
    return [word for word in words if word.replace(".", "", 1).lstrip("-").isdigit()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "ane-m7"], "ane-m7"),
        (["--device", "gpu", "--audio", "song.wav"], "--device goes without --audio"),
    ],
)
def test_what_can_t_be_predicted_is_refused_before_anything_runs(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["check", str(tmp_path / "x.mlpackage"), "--subject", "mini", *arguments]
    assert main(command) == 2
    assert said in capsys.readouterr().err
