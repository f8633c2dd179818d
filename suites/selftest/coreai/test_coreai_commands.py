"""The commands: convert to Core AI, execute, and get one sentence where that can't be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from torch import Tensor, nn

from harness.cli import main
from harness.coreai import installed as installation
from harness.metrics import snr_db
from harness.subjects import Network
from harness.subjects import subject as subjects
from harness.subjects.protocol import Extracted


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, small: Extracted) -> None:
    """Make the small network a subject."""
    of = small.interface

    class Known(Network):
        name, signal_shape = "small", (1, 2, 2048)
        inputs, outputs, taps = of.inputs, of.outputs, of.taps

        def build(self) -> nn.Module:
            assert isinstance(small, nn.Module)
            return small

    monkeypatch.setitem(subjects._NETWORKS, "small", Known())


def test_a_subject_is_converted_executed_and_asked_for_its_operations(
    installed: None,
    known: None,
    small: Extracted,
    signal: Tensor,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asset, inputs, out = (str(tmp_path / n) for n in ("s.aimodel", "in.safetensors", "o.npz"))
    save_file({"x": signal.numpy(), "stems": np.zeros(3, np.float32)}, inputs)  # a golden has more
    convert = ["convert", "small", "--target", "coreai", "--out", asset, "--taps", "--json"]
    assert main(convert) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["outputs"] == ["y", "mean", "tap.convolution", "tap.norm"]
    metadata = (tmp_path / "s.aimodel" / "metadata.json").read_text()
    assert '"in stages"' in metadata
    assert made["fingerprint"] in metadata
    assert main(["predict", asset, "--inputs", inputs, "--out", out, "--taps", "tap.n*"]) == 0
    with np.load(out) as values:
        assert set(values) == {"y", "mean", "tap.norm"}
        assert snr_db(small(signal)[0].numpy(), values["y"]) > 110
    limited = ["predict", asset, "--inputs", inputs, "--out", out, "--time-limit", "0.1"]
    assert main(limited) == 2
    assert "within 0.1 s" in capsys.readouterr().err
    assert main(["coreai-operations", "small", "--inputs", inputs, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["operations"]
    assert {"mean", "convolution"} <= {row["operation"] for row in rows}


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["convert", "mini", "--as-is", "--out", "x.mlpackage"], "--target coreai", 2),
        (["convert", "mini", "--target", "coreai", "--out", "x.mlpackage"], ".aimodel", 2),
        (
            [
                "convert",
                "small",
                "--target",
                "coreai",
                "--precision",
                "mixed",
                "--out",
                "x.aimodel",
            ],
            "fp32 or fp16",
            2,
        ),
        (["predict", "x.aimodel", "--inputs", "i.npz", "--stats"], "give --out", 2),
        (["predict", "x.aimodel", "--inputs", "i.npz", "--out", "o.npz"], "no Core AI asset", 2),
        (["coreai-operations", "small", "--inputs", "other.safetensors"], "unknown tensor", 2),
    ],
)
def test_what_cannot_be_is_one_sentence(
    installed: None,
    known: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({"y": np.zeros(2, np.float32)}, "other.safetensors")
    assert main(arguments) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_without_the_extra_conversion_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: None)
    out = str(tmp_path / "x.aimodel")
    assert main(["convert", "mini", "--target", "coreai", "--out", out]) == 3
    assert "pip install 'htdemucs-parity[coreai]'" in capsys.readouterr().err
