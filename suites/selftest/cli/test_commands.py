"""Every command: what it prints, its exit code, and one clear sentence for bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import typer
from safetensors.numpy import save_file
from typer.testing import CliRunner

from harness.cli import main
from harness.cli.app import app

COMMANDS = (
    "doctor",
    "convert",
    "audit",
    "lint",
    "predict",
    "export",
    "check",
    "compare",
    "separate",
    "report",
    "figures",
    "conformance",
    "headroom",
    "diagnose",
    "explain",
    "sensitivity",
    "tune",
    "sweep",
    "reduce",
    "faults",
    "verdict",
)
GROUPS = (
    "attest make",
    "attest verify",
    "store show",
    "store gc",
    "sweep merge",
    "golden build",
    "golden verify",
    "golden show",
    "baseline accept",
    "baseline diff",
    "inventory accept",
    "inventory diff",
)


@pytest.mark.parametrize("command", [*COMMANDS, *GROUPS])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert "Usage" in shown


HEAVY = {
    "torch",
    "onnx",
    "onnxruntime",
    "coremltools",
    "scipy",
    "demucs",
    "numpy",
    "matplotlib",
    "pytest",
}
LOADED = """
import sys
from harness.cli import main
codes = [main([*words.split(), "--help"]) for words in sys.argv[1:]] + [main(["--version"])]
print(codes, *sys.modules, file=sys.stderr)
"""


def test_help_and_version_load_nothing_that_computes() -> None:
    """Who asks what there is must not wait seconds for PyTorch."""
    words = ["", *COMMANDS, *GROUPS]
    command = [sys.executable, "-c", LOADED, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    codes, _, modules = done.stderr.partition("] ")
    assert codes.count("0") == len(words) + 1
    assert HEAVY.isdisjoint(modules.split())
    assert "htdemucs-parity" in done.stdout


def every_command(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, *path, name)


def test_no_help_cuts_the_name_of_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal has 80 columns, and nobody can type '--max-fp32-sha…'."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    monkeypatch.setattr("typer.rich_utils.FORCE_TERMINAL", False)
    for path, command in every_command(typer.main.get_command(app)):
        shown = CliRunner().invoke(app, [*path, "--help"]).output
        names = [name for row in command.params for name in row.opts if name.startswith("--")]
        assert [name for name in names if name not in shown] == [], path
        assert "…" not in shown, path


def test_doctor_names_every_engine_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    engines = {engine["name"]: engine for engine in document["engines"]}
    coreml = {"coreml", "coreml-cpu", "coreml-gpu", "coreml-all"}
    assert set(engines) == {"torch", "mil", "onnx", "coreai", "capture"} | coreml
    assert all(engine["reason"] for engine in engines.values())
    assert document["versions"]["torch"] != "not installed"


def test_a_required_engine_that_is_missing_is_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARITY_WITHOUT_ENGINES", "mil")
    assert main(["doctor", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["missing"] == ["mil"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["convert", "htdemucs_7s@seeded", "--out", "x.mlpackage"], ["subject", "htdemucs_6s"]),
        (
            ["convert", "htdemucs@seeded", "--precision", "fp23", "--out", "x.mlpackage"],
            ["precision recipe", "fp32"],
        ),
        (["convert", "htdemucs@seeded", "--out", "x.onnx"], [".mlpackage"]),
        (["audit", "nowhere.mlpackage"], ["nowhere.mlpackage"]),
        (["golden", "build", "--case", "sing"], ["case", "sine"]),
        (["golden", "build", "--new", "--force"], ["--new or --force"]),
        (["report", "nowhere.json", "--out", "page"], ["nowhere.json"]),
        (["separate", "nowhere.wav", "--subject", "htdemucs@seeded", "--out", "o"], ["nowhere"]),
        (["frobnicate"], ["frobnicate"]),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    golden = Path("golden").absolute()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "golden").symlink_to(golden)
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert all(word in shown for word in words), shown
    assert "Traceback" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["golden"]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("frobnicate", "parity"),
        ("baseline accept run.json --out base.json", "parity baseline accept"),
        ("weights map in.safetensors --out out.safetensors", "parity weights map"),
        ("pack build ops --subject mini --out pack", "parity pack build"),
    ],
)
def test_bad_usage_leads_to_the_help_of_its_own_command(
    typed: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help of the whole program doesn't list the options that would have been right."""
    assert main(typed.split()) == 2
    assert f"see '{names} --help'" in " ".join(capsys.readouterr().err.split())


def test_missing_weights_are_exit_code_3_and_name_what_would_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert main(["convert", "htdemucs", "--out", str(tmp_path / "x.mlpackage"), "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 3
    assert "htdemucs@seeded" in document["error"]


class TestCompare:
    @pytest.fixture
    def pair(self, tmp_path: Path) -> tuple[Path, Path]:
        noise = np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32) * 0.1
        for side, gain in (("expected", 1.0), ("actual", 1.0 + 1e-5)):
            save_file({"freq": (noise * gain).astype(np.float32)}, tmp_path / f"{side}.safetensors")
        return tmp_path / "expected.safetensors", tmp_path / "actual.safetensors"

    def test_close_tensors_pass(self, pair: tuple[Path, Path]) -> None:
        assert main(["compare", *map(str, pair)]) == 0

    def test_a_tighter_gate_fails(
        self, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare", *map(str, pair), "--min-snr", "120", "--json"]) == 1
        document = json.loads(capsys.readouterr().out)
        assert document["checks"][0]["metrics"]["snr_db"] == pytest.approx(100, abs=0.1)

    def test_half_a_tolerance_is_refused(self, pair: tuple[Path, Path]) -> None:
        assert main(["compare", *map(str, pair), "--rtol", "1e-3"]) == 2

    def test_a_tensor_that_one_side_lacks_fails(
        self, pair: tuple[Path, Path], tmp_path: Path
    ) -> None:
        more = {"freq": np.ones(3, np.float32), "time": np.ones(3, np.float32)}
        save_file(more, tmp_path / "more.safetensors")
        save_file({"time": more["time"]}, tmp_path / "less.safetensors")
        names = [str(tmp_path / f"{name}.safetensors") for name in ("more", "less")]
        assert main(["compare", "--min-snr", "60", names[0], str(pair[0])]) == 1
        assert main(["compare", "--min-snr", "60", *names]) == 1

    def test_folders_of_audio_are_compared_file_by_file(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        for stem in ("drums", "bass"):
            audio = rng.standard_normal((3000, 2)).astype(np.float32) * 0.1
            for side in ("a", "b"):
                (tmp_path / side).mkdir(exist_ok=True)
                soundfile.write(tmp_path / side / f"{stem}.wav", audio, 44_100, subtype="FLOAT")
        assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
        (tmp_path / "b" / "bass.wav").unlink()
        assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 1

    @pytest.mark.parametrize("whole", [True, False], ids=["folders", "files"])
    def test_nothing_beside_nothing_is_refused(self, whole: bool, tmp_path: Path) -> None:
        """Two exports that failed hold the same: nothing. That must not pass."""
        for side in ("a", "b"):
            (tmp_path / side).mkdir()
            np.savez(tmp_path / side / "x.npz")
        sides = [tmp_path / side if whole else tmp_path / side / "x.npz" for side in ("a", "b")]
        assert main(["compare", *map(str, sides)]) == 2

    def test_a_file_and_a_folder_are_refused(self, pair: tuple[Path, Path]) -> None:
        assert main(["compare", str(pair[0]), str(pair[0].parent)]) == 2
