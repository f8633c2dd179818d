"""Recorders, files and commands: if these fail, what was recorded on a Mac is lost or mistaken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness import mil
from harness.captures import (
    PROBES,
    Capture,
    CaptureError,
    calibrate,
    probe_inputs,
    read_capture,
    write_kit,
)
from harness.captures.recorder import UNITS, inputs_digest, read, record
from harness.cli.app import main
from harness.devices import device, load_profile
from harness.engines import open_engine
from harness.mil import bridge
from suites.selftest.captures.synthetic import PLACE, capture_of, write_capture

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit whose Python recorder ran, with the executor in the place of Core ML."""
    folder = tmp_path_factory.mktemp("mac") / "kit"
    write_kit(folder)
    with bridge.installed():
        assert len(record(folder)) == len(UNITS)
    return folder


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    """A capture of a synthetic device, as a file."""
    path = tmp_path / "taken.safetensors"
    write_capture(path, capture_of(device("ane-m1", tile_alignment="nearest")))
    return path


def test_the_recorder_writes_what_the_package_computes(recorded: Path) -> None:
    expected = mil.load(recorded / "probes.mlpackage").predict(probe_inputs())
    for unit in UNITS:
        capture = read_capture(recorded / f"capture-{unit}.safetensors")
        assert capture.origin["compute_unit"] == unit
        assert "coremltools" in capture.origin["versions"]
        assert all(capture.origin.values())
        assert capture.outputs.keys() == expected.keys()
        for name, value in expected.items():
            assert np.array_equal(capture.outputs[name], value, equal_nan=True), name


def test_a_recording_of_the_executor_is_a_device_with_exact_functions(recorded: Path) -> None:
    """Which is the rule of ``storage``: everything rounded once."""
    found = calibrate(read_capture(recorded / "capture-ALL.safetensors"), PLACE)
    assert found.identified
    assert found.rules["activations"] == ("rounded_once",)
    assert found.rules["accumulator"] == ("wide",)
    assert found.rules["bias"] == ("wide",)


def test_the_kit_is_small_and_whole(recorded: Path) -> None:
    assert {"probes.mlpackage", "inputs.safetensors", "recorder.py", "recorder.swift"} <= {
        entry.name for entry in recorded.iterdir()
    }
    kit = [recorded / "inputs.safetensors", *(recorded / "probes.mlpackage").rglob("*")]
    assert sum(path.stat().st_size for path in kit if path.is_file()) < 200_000
    given = load_file(recorded / "inputs.safetensors")
    assert inputs_digest(given) == inputs_digest(probe_inputs())
    assert inputs_digest(read(recorded / "inputs.safetensors")) == inputs_digest(given)


def test_the_shipped_recorder_needs_nothing_of_the_harness(recorded: Path) -> None:
    """It is started where the harness can't be imported; here it gets as far as Core ML."""
    script = "import sys, runpy; sys.modules['harness'] = None; runpy.run_path('recorder.py')"
    subprocess.run([sys.executable, "-c", script], cwd=recorded, check=True, env={})


def test_the_two_recorders_say_the_same_of_the_format() -> None:
    import harness.captures.recorder as recorder

    source = Path(recorder.__file__)
    swift = source.with_suffix(".swift").read_text(encoding="utf-8")
    for word in (recorder.FORMAT, recorder.INPUTS, *UNITS, *recorder.TYPES, "float16", "int32"):
        assert f'"{word}"' in swift, word
    for key in read_keys():
        assert f'"{key}"' in swift, key


def read_keys() -> tuple[str, ...]:
    return ("format", "inputs", "compute_unit", "device", "system", "versions")


def test_calibrate_names_the_profile_and_writes_a_new_one(
    taken: Path, tmp_path: Path, capsys: Captured
) -> None:
    target = tmp_path / "mine.toml"
    assert main(["calibrate", str(taken), "--out", str(target)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{len(PROBES)} of {len(PROBES)} probes explained" in said
    assert "identified: ane-m1; tile_alignment is nearest; as assumed: bias" in said
    assert load_profile(target).facts["tile_alignment"].value == "nearest"


def test_a_written_profile_predicts_the_capture_by_its_path(
    taken: Path, recorded: Path, tmp_path: Path
) -> None:
    profile, made = str(tmp_path / "mine.toml"), tmp_path / "made.safetensors"
    assert main(["calibrate", str(taken), "--out", profile]) == 0
    inputs = ["--inputs", str(recorded / "inputs.safetensors")]
    package = str(recorded / "probes.mlpackage")
    command = ["predict", package, *inputs, "--numerics", profile, "--out", str(made)]
    assert main(command) == 0
    expected = read_capture(taken).outputs
    for name, value in load_file(made).items():
        assert np.array_equal(value, expected[name], equal_nan=True), name


def test_calibrate_says_what_differs(taken: Path, tmp_path: Path, capsys: Captured) -> None:
    capture, target = read_capture(taken), tmp_path / "mine.toml"
    capture.outputs["gelu"][...] += 1
    write_capture(taken, capture)
    assert main(["calibrate", str(taken), "--out", str(target)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "not identified" in said
    assert "gelu over a grid" in said
    assert f"{target.name} was not written" in said.replace(" ", "").replace(
        "wasnotwritten", " was not written"
    )
    assert not target.exists()
    assert main(["calibrate", str(taken), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [p["name"] for p in document["probes"] if not p["explained"]] == ["gelu"]


def test_the_name_of_a_shipped_profile_is_not_given_again(
    taken: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["calibrate", str(taken), "--out", str(tmp_path / "gpu.toml")]) == 2
    assert "choose another name" in capsys.readouterr().err


def test_calibrate_says_which_probes_contradict_each_other(taken: Path, capsys: Captured) -> None:
    """As when Core ML ran some operations on another unit than it was offered."""
    capture, other = read_capture(taken), capture_of(device("cpu-bnns"))
    outputs = {**capture.outputs, "tanh": other.outputs["tanh"]}
    write_capture(taken, Capture(outputs, capture.inputs, capture.origin))
    assert main(["calibrate", str(taken)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "by no rules that suit them all" in said
    assert "activations is tables by sigmoid, gelu" in said
    assert "rounded_once by tanh" in said


def damaged(path: Path, how: str) -> None:
    """Damage the capture at ``path``."""
    capture = read_capture(path)
    outputs, content = dict(capture.outputs), path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "no capture":
        save_file(outputs, path)
    elif how == "other inputs":
        write_capture(path, Capture.of({"x": np.zeros(3)}, outputs))
    elif how == "a probe is missing":
        del outputs["gelu"]
        write_capture(path, Capture(outputs, capture.inputs, capture.origin))
    elif how == "a probe of another shape":
        outputs["gelu"] = outputs["gelu"][:3]
        write_capture(path, Capture(outputs, capture.inputs, capture.origin))
    elif how == "a probe of integers":
        outputs["gelu"] = outputs["gelu"].astype(np.int32)
        write_capture(path, Capture(outputs, capture.inputs, capture.origin))
    elif how == "a long text":
        origin = {**capture.origin, "device": "x" * 4000}
        write_capture(path, Capture(outputs, capture.inputs, origin))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("truncated", "can't be read as a capture"),
        ("no capture", "is no capture"),
        ("other inputs", "recorded with other inputs"),
        ("a probe is missing", "lacks the probe 'gelu'"),
        ("a probe of another shape", "expected float16 of shape [2048]"),
        ("a probe of integers", "has int32"),
        ("a long text", "expected 'device' in its metadata"),
    ],
)
def test_what_is_no_capture_of_the_kit_is_refused_in_a_sentence(
    how: str, words: str, taken: Path, capsys: Captured
) -> None:
    damaged(taken, how)
    assert main(["calibrate", str(taken)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said) < 500


def test_texts_of_a_stranger_are_printed_and_written_as_texts(
    taken: Path, tmp_path: Path, capsys: Captured
) -> None:
    capture, target = read_capture(taken), tmp_path / "mine.toml"
    strange = {**capture.origin, "device": '[bold]"\n\x1b[2J[facts.round]\x7f'}
    write_capture(taken, Capture(capture.outputs, capture.inputs, strange))
    assert main(["calibrate", str(taken), "--out", str(target)]) == 0
    said = capsys.readouterr().out
    assert "[bold]" in said
    assert "\x1b[2J" not in said
    assert load_profile(target).facts["round"].value == "half_away"


def test_a_capture_of_ones_own_package_is_replayed_for_its_inputs_alone(
    recorded: Path, tmp_path: Path, capsys: Captured
) -> None:
    package, folder = recorded / "probes.mlpackage", tmp_path / "recording"
    inputs = str(recorded / "inputs.safetensors")
    command = ["capture", str(package), "--inputs", inputs, "--out", str(folder)]
    assert main(command) == 0
    with pytest.raises(CaptureError, match="record it on a Mac"):
        open_engine("capture", folder / "probes.mlpackage")
    with bridge.installed():
        record(folder)
    (folder / "capture-ALL.safetensors").rename(folder / "probes.capture.safetensors")
    session = open_engine("capture", folder / "probes.mlpackage")
    given = probe_inputs()
    made = session.predict(given)
    expected = open_engine("mil", package).predict(given)
    assert all(np.array_equal(made[n], expected[n], equal_nan=True) for n in expected)
    with pytest.raises(CaptureError, match="can't show taps"):
        session.predict(given, taps=["gelu"])
    given["gelu_x"] = given["gelu_x"] + np.float16(1)
    with pytest.raises(CaptureError, match="recorded with other inputs"):
        session.predict(given)


def test_what_a_mac_cannot_compile_is_not_sent_there(tmp_path: Path, capsys: Captured) -> None:
    command = ["capture", "x.mlmodelc", "--inputs", "random:1", "--out", str(tmp_path / "new")]
    assert main(command) == 2
    assert "expected an .mlpackage" in capsys.readouterr().err
