"""Assets: what the runtime makes of them is PyTorch's, and what happens to it has a name."""

from __future__ import annotations

import os
import shutil
import signal as signals
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.coreai import (
    Asset,
    RuntimeCrashError,
    RuntimeLimits,
    RuntimeTimeoutError,
    convert_to_coreai,
)
from harness.coreai import asset as assets
from harness.coreai import installed as installation
from harness.engines import open_engine
from harness.errors import (
    EngineUnavailableError,
    ExecutionError,
    PackageError,
    ParityError,
    RecipeError,
)
from harness.metrics import snr_db
from harness.subjects.protocol import Extracted, run_extracted

SLEEPS = """
import os, pathlib, time
pathlib.Path(os.environ["PIDS"]).write_text(str(os.getpid()))
time.sleep(600)
"""


def test_outputs_and_taps_are_those_of_pytorch(
    asset: Asset, small: Extracted, signal: Tensor
) -> None:
    expected = run_extracted(small, {"x": signal}, None)
    session = open_engine("coreai", asset.path)
    made = session.predict({"x": signal.numpy()}, taps=["tap.convolution", "tap.norm"])
    assert made.keys() == {"y", "mean", "tap.convolution", "tap.norm"}
    for name, value in made.items():
        assert value.dtype == np.float32
        assert snr_db(expected[name.removeprefix("tap.")].numpy(), value) > 110


def test_taps_are_shown_if_they_are_asked_for(asset: Asset, signal: Tensor) -> None:
    assert asset.predict({"x": signal.numpy()}).keys() == {"y", "mean"}
    with pytest.raises(ExecutionError, match=r"no output 'tap\.linear'; it has mean, tap"):
        asset.predict({"x": signal.numpy()}, taps=["tap.linear"])


def test_half_precision_takes_and_returns_float32_and_leaves_the_subject_alone(
    installed: None, small: Extracted, signal: Tensor, tmp_path: Path
) -> None:
    made = convert_to_coreai(small, tmp_path / "half.aimodel", precision="fp16")
    assert made.outputs == ("y", "mean")
    assert isinstance(small, nn.Module)
    assert {p.dtype for p in small.parameters()} == {torch.float32}
    value = Asset(made.path).predict({"x": signal.numpy()})["y"]
    assert value.dtype == np.float32
    assert 35 < snr_db(small(signal)[0].numpy(), value) < 80  # FP16, and no worse


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "takes the inputs x, got none"),
        ({"z": np.zeros((1, 2, 2048), np.float32)}, "takes the inputs x, got z"),
        ({"x": np.zeros((1, 2, 2047), np.float32)}, r"is float32 \[1, 2, 2047\], expected"),
        ({"x": np.zeros((1, 2, 2048), np.float64)}, "is float64"),
    ],
)
def test_inputs_that_it_does_not_take_are_refused(
    asset: Asset, given: dict[str, np.ndarray], message: str
) -> None:
    """The runtime itself would read whatever memory it is given."""
    with pytest.raises(ExecutionError, match=message):
        asset.predict(given)


def test_a_crash_of_the_runtime_is_an_error_with_the_name_of_the_signal(
    asset: Asset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "crashes.py"
    script.write_text("import os; print('the end', flush=True); os.kill(os.getpid(), 11)")
    monkeypatch.setattr(assets, "RUNNER", script)
    with pytest.raises(RuntimeCrashError, match=r"SIGSEGV while .* that it said: the end"):
        asset.predict({})


def test_a_runtime_that_hangs_is_ended(
    asset: Asset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script, pids = tmp_path / "sleeps.py", tmp_path / "pid"
    script.write_text(SLEEPS)
    monkeypatch.setattr(assets, "RUNNER", script)
    monkeypatch.setenv("PIDS", str(pids))
    with pytest.raises(RuntimeTimeoutError, match="within 2 s"):
        replace(asset, limits=RuntimeLimits(seconds=2)).predict({})
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.read_text()), signals.SIGCONT)


def test_memory_and_outputs_have_bounds(asset: Asset, signal: Tensor) -> None:
    given = {"x": signal.numpy()}
    with pytest.raises(ExecutionError, match="can't execute"):  # its libraries don't fit
        replace(asset, limits=RuntimeLimits(memory_bytes=200 << 20)).predict(given)
    with pytest.raises(ExecutionError, match="File too large"):
        replace(asset, limits=RuntimeLimits(output_bytes=4096)).predict(given)


@pytest.mark.parametrize(
    ("name", "content"), [("main.mlirb", b"MLIR of nobody" * 99), ("main.mlirb", b"")]
)
def test_a_broken_program_is_an_error(
    asset: Asset, signal: Tensor, tmp_path: Path, name: str, content: bytes
) -> None:
    broken = tmp_path / "broken.aimodel"
    shutil.copytree(asset.path, broken)
    (broken / name).write_bytes(content)
    with pytest.raises(ExecutionError, match=r"broken\.aimodel"):
        Asset(broken).predict({"x": signal.numpy()})


def test_what_is_no_asset_is_refused(asset: Asset, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no Core AI asset"):
        Asset(tmp_path / "none.aimodel")
    with pytest.raises(PackageError, match="--target coreai"):
        open_engine("coreai", tmp_path / "x.mlpackage")
    broken = tmp_path / "broken.aimodel"
    shutil.copytree(asset.path, broken)
    (broken / "metadata.json").write_text("{")
    with pytest.raises(PackageError, match=r"metadata\.json"):
        Asset(broken)


def test_what_cannot_be_converted_is_refused(
    installed: None, small: Extracted, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="fp32 or fp16"):
        convert_to_coreai(small, tmp_path / "x.aimodel", precision="mixed")
    with pytest.raises(PackageError, match=r"must end in \.aimodel"):
        convert_to_coreai(small, tmp_path / "x.mlpackage")

    class Unknown(nn.Module):
        interface = replace(small.interface, outputs={"y": (1, 2, 2048)}, taps={})

        def forward(self, x: Tensor) -> Tensor:
            return torch.special.bessel_j0(x)

    with pytest.raises(ParityError, match="bessel_j0"):
        convert_to_coreai(Unknown().eval(), tmp_path / "x.aimodel")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_one_sentence_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineUnavailableError, match=r"htdemucs-parity\[coreai\]"):
        Asset(tmp_path)
    with pytest.raises(EngineUnavailableError, match=r"htdemucs-parity\[coreai\]"):
        open_engine("coreai", tmp_path)
