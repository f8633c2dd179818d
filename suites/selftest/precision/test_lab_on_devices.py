"""If these fail, the lab tells of a device what is true of rounding alone, or refuses too late."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import save_file

from harness.cli.app import main
from harness.devices import device
from harness.errors import ParityError
from harness.precision.sensitivity import Probing, measure_sensitivity, output_measures
from harness.precision.virtual import VirtualPrecision

Signal = dict[str, torch.Tensor]
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def ask(
    small: VirtualPrecision, signal: Signal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Ask:
    """Ask a command of the lab about the small program, and read its document."""
    inputs = tmp_path / "in.safetensors"
    save_file({name: tensor.numpy() for name, tensor in signal.items()}, inputs)

    def command(name: str, *words: str) -> tuple[int, Any]:
        where = [str(small.base.package.path), "--inputs", str(inputs), "--json"]
        code = main([name, *where, *words])
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else said.err

    return command


def test_shares_on_a_device_are_what_its_tables_and_accumulators_add(
    small: VirtualPrecision, signal: Signal
) -> None:
    measures = output_measures(small.base.run(signal))
    choice = small.fp32_for(())
    how: dict[str, Any] = {"choice": choice, "probing": Probing(probes=12)}
    plain = measure_sensitivity(small, {"s": signal}, measures, **how)
    unit = device("ane-m1")
    found = measure_sensitivity(small, {"s": signal}, measures, unit=unit, **how)
    share = {each.operation: each.mean for each in found.operations}
    before = {each.operation: each.mean for each in plain.operations}
    (first, second) = (measure.name for measure in measures)
    assert {each.error for each in found.operations} == {"device"}
    for name in ("gelu", "gate"):  # from tables
        assert share[name][first] > 10 * before[name][first]
    assert share["gelu"][second] == 0  # the other output branches off before
    for key, level in found.measured_db.items():
        assert found.predicted_db[key] == pytest.approx(level, abs=2.5)
    gated = f"s/{first}"
    assert found.measured_db[gated] < plain.measured_db[gated] - 10


def test_a_device_executes_fp16_alone(small: VirtualPrecision, signal: Signal) -> None:
    measures = output_measures(small.base.run(signal))
    with pytest.raises(ParityError, match="give a choice of precisions"):
        measure_sensitivity(small, {"s": signal}, measures, unit=device("gpu"))


def test_a_sweep_has_a_cell_for_each_device(ask: Ask, tmp_path: Path) -> None:
    words = ["--precisions", "fp16", "--device", "ane-m1", "--device", "gpu"]
    code, document = ask("sweep", *words, "--cache", str(tmp_path / "cache"))
    assert code == 0
    worst = {
        cell["numerics"]: min(level for level in cell["snr_db"].values() if level is not None)
        for cell in document["cells"]
    }
    assert list(worst) == ["storage", "ane-m1", "gpu"]
    assert worst["ane-m1"] < worst["gpu"] - 5


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sweep", ["--precisions", "fp16"]),
        ("sensitivity", []),
        ("diagnose", ["--reference", "X32.mlpackage"]),
    ],
)
def test_a_device_that_is_none_is_refused_at_once(command: str, words: list[str], ask: Ask) -> None:
    code, said = ask(command, *words, "--device", "ane-m7")
    assert code == 2
    assert "ane-m7" in said["error"]
