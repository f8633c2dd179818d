"""If these fail, ``parity headroom`` and ``parity diagnose`` can't be trusted in a script."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from harness.cli.app import main
from harness.precision.virtual import VirtualPrecision
from harness.subjects.protocol import Interface
from harness.workbench.sources import SubjectSource, package, subject

Signal = dict[str, torch.Tensor]


@pytest.fixture
def small_lab(small: VirtualPrecision, signal: Signal, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the small program in the place of every subject; return its package."""

    def small_inputs(source: SubjectSource, device: str = "cpu") -> dict[str, Signal]:
        levels = {"hot": 1e4, "quiet": 1e-5, "silence": 0.0}
        return {name: {"x": levels.get(name, 1.0) * signal["x"]} for name in source.cases}

    shapes = [
        {feature.name: feature.shape for feature in features}
        for features in (small.base.inputs, small.base.outputs)
    ]
    interface = Interface(*shapes)  # type: ignore[arg-type]
    monkeypatch.setattr(SubjectSource, "program", lambda source: nullcontext(small.base))
    monkeypatch.setattr(SubjectSource, "inputs", small_inputs)
    for room in (package, subject):
        monkeypatch.setattr(
            room, "describe_subject", lambda subject: SimpleNamespace(interface=interface)
        )
    return Path(small.base.package.path)


@pytest.mark.parametrize("of_package", [True, False])
def test_headroom_listens_to_loud_and_quiet_signals_by_default(
    of_package: bool, small_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(small_lab) if of_package else "mini"
    assert main(["headroom", model, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["cases"]) >= {"hot", "quiet", "silence"}
    (squared,) = (o for o in document["operations"] if o["operation"] == "squared")
    assert {risk["kind"] for risk in squared["risks"]} == {"range", "subnormal"}
    assert main(["headroom", model]) == 0
    told = capsys.readouterr().out
    assert "range (hot): reaches" in told
    assert " operations that compute floats, cast or lose integers (" in told


def test_diagnose_passes_what_is_as_good_as_it_has_to_be(
    small_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["diagnose", str(small_lab), "--subject", "mini"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["culprits"] == []
    assert main(command) == 0
    assert "0 operations are wrong by themselves" in capsys.readouterr().out


def test_diagnose_fails_a_capture_that_is_worse_and_does_not_evaluate_half_of_one(
    small: VirtualPrecision,
    signal: Signal,
    small_lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = {name: value.clone().contiguous() for name, value in small.base.run(signal).items()}
    capture = tmp_path / "mac.safetensors"
    command = ["diagnose", str(small_lab), "--subject", "mini", "--capture", str(capture)]
    save_file(made, capture)
    assert main(command) == 0
    save_file({name: 1.01 * value for name, value in made.items()}, capture)
    assert main(command) == 1
    assert "worse than fp16 has to be" in capsys.readouterr().out
    save_file({"flat": made["flat"]}, capture)
    assert main(command) == 3
    save_file({"else": made["flat"]}, capture)
    assert main(command) == 2
