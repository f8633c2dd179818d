"""Packs as files: what other languages rely on, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness.cli import main
from harness.packs import Pack, PackError, open_pack, read_results
from harness.packs.manifest import Manifest, Tolerance


def test_the_schema_describes_the_manifests(built: dict[str, Pack]) -> None:
    """Readers are generated from it."""
    for pack in built.values():
        schema = json.loads((pack.folder / "pack.schema.json").read_text("utf-8"))
        document = json.loads((pack.folder / "manifest.json").read_text("utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(document, schema)
        del document["cases"][0]["sha256"]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, schema)


def test_the_tsv_says_the_same_and_where_each_tensor_lies(ops: Pack) -> None:
    """A reader without a parser for JSON opens the file of tensors at an offset, nothing else."""
    lines = (ops.folder / "manifest.tsv").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    assert rows[0] == ["pack", "parity-pack", "1", "ops", "little"]
    assert ["required", str(ops.manifest.required)] in rows
    found: dict[str, np.ndarray] = {}
    contents = {row[1]: (ops.folder / row[2]).read_bytes() for row in rows if row[0] == "file"}
    for kind, case, *rest in rows:
        if kind == "tensor":
            name, dtype, shape, _, file, offset, size = rest
            sizes = [] if shape == "-" else [int(part) for part in shape.split(",")]
            part = contents[file][int(offset) : int(offset) + int(size)]
            found[f"{case}/{name}"] = np.frombuffer(part, dtype).reshape(sizes)
    library = load_file(ops.folder / "given.safetensors")
    library |= load_file(ops.folder / "expected.safetensors")
    assert set(found) == set(library)
    for name, array in library.items():
        assert np.array_equal(found[name], array), name
    tolerances = {(row[1], row[2]): row[3:] for row in rows if row[0] == "tolerance"}
    attributes = {(row[1], row[2]): row[3] for row in rows if row[0] == "attribute"}
    for case_entry in ops.manifest.cases:
        for entry in case_entry.expected:
            rtol, atol, snr = tolerances[case_entry.name, entry.name]
            least = None if snr == "-" else float(snr)
            assert Tolerance(float(rtol), float(atol), least) == entry.tolerance
        assert {key for name, key in attributes if name == case_entry.name} == set(
            case_entry.attributes
        )
    assert attributes["conv2d.frequency_only", "stride"] == "4,1"
    assert attributes["matmul.transpose_b", "transpose_b"] == "true"


def test_layouts_and_conventions_are_told(ops: Pack) -> None:
    """Most of what goes wrong in a port is an order of axes or gates."""
    layouts = {
        (case.operation, entry.name): entry.layout
        for case in ops.manifest.cases
        for entry in case.tensors
    }
    assert layouts["conv2d", "param/weight"] == "OIHW"
    assert layouts["conv_transpose2d", "param/weight"] == "IOHW"
    assert layouts["linear", "param/weight"] == "[out, in]"
    assert layouts["linear_in_out", "grad/param/weight"] == "[in, out]"
    orders = {
        (case.attributes["gate_order"], case.attributes["biases"])
        for case in ops.manifest.cases
        if case.operation == "lstm"
    }
    assert orders == {("i,f,g,o", "split"), ("i,f,o,g", "summed"), ("i,o,f,g", "split")}
    assert all(ops.manifest.operations.values())


def test_the_rust_of_the_documentation_reads_a_pack(ops: Pack, tmp_path: Path) -> None:
    """What people copy must compile, and read the numbers that are there."""
    compiler = shutil.which("rustc")
    if compiler is None:
        pytest.skip("not evaluated: no rustc is here to compile the example of docs/packs.md")
    document = Path("docs", "packs.md").read_text("utf-8")
    source = document.partition("```rust\n")[2].partition("```")[0]
    (tmp_path / "read.rs").write_text(source, "utf-8")
    words = [compiler, "--edition", "2021", "read.rs", "-o", "read"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [tmp_path / "read", ops.folder], check=True, capture_output=True, text=True
    )
    weight = load_file(ops.folder / "given.safetensors")["conv1d.basic/param/weight"]
    numbers = [
        float(part) for part in done.stdout.replace("[", " ").replace("]", ",").split(",")[:-1]
    ]
    assert numbers == pytest.approx([*weight.shape, *weight.ravel()[:2]], rel=1e-6)


# --- what is refused ------------------------------------------------------------------------------


def _edited(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_text("utf-8"))
    edit(document)
    path.write_text(json.dumps(document), "utf-8")


def _first(document: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = document["cases"][0]["tensors"][0]
    return entry


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a later version": (lambda d: d.update(version=2), "version '2'"),
    "no version": (lambda d: d.pop("version"), "version"),
    "another byte order": (lambda d: d.update(byte_order="big"), "byte_order 'big'"),
    "another format": (lambda d: d.update(format="other"), "format"),
    "fewer cases than required": (lambda d: d["cases"].pop(), "requires"),
    "an unknown key": (lambda d: d.update(more=1), "more"),
    "a dtype that does not exist": (lambda d: _first(d).update(dtype="float8"), "float8"),
    "a dtype that the file has not": (lambda d: _first(d).update(dtype="int32"), "manifest says"),
    "another shape": (lambda d: _first(d).update(shape=[1, 2, 3]), "manifest says"),
    "another place": (lambda d: _first(d).update(offset=8), "manifest says"),
    "a file of the stranger's": (
        lambda d: d["files"]["given"].update(name="../../etc/passwd"),
        "files",
    ),
    "an infinite tolerance": (
        lambda d: d["cases"][0]["tensors"][-1]["tolerance"].update(atol="inf"),
        "tolerance",
    ),
    "no tolerance": (lambda d: d["cases"][0]["tensors"][-1].pop("tolerance"), "bounds"),
    "another hash": (lambda d: d["files"]["given"].update(sha256="0" * 64), "SHA-256"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_manifest_that_does_not_fit_is_refused(
    name: str, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, words = EDITS[name]
    _edited(copied, edit)
    with pytest.raises(PackError, match=words):
        open_pack(copied)
    assert main(["pack", "show", str(copied)]) == 2
    shown = capsys.readouterr().err
    assert len(shown) < 520
    assert "Traceback" not in shown


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
@pytest.mark.parametrize("file", ["given.safetensors", "expected.safetensors", "manifest.json"])
def test_a_truncated_file_is_refused(kept: int, file: str, copied: Path) -> None:
    path = copied / file
    path.write_bytes(path.read_bytes()[:kept])
    if file == "manifest.json" and kept == -1:  # its last byte is a line's end
        assert isinstance(open_pack(copied).manifest, Manifest)
        return
    with pytest.raises(PackError, match=file):
        open_pack(copied)


def test_one_flipped_bit_is_refused(copied: Path) -> None:
    """A golden that rotted on somebody's disk must not send them after a bug."""
    path = copied / "expected.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(PackError, match="SHA-256"):
        open_pack(copied)


def test_a_tsv_that_says_something_else_is_refused(copied: Path) -> None:
    """It is what other languages read: an edited tolerance or shape there would go unseen."""
    path = copied / "manifest.tsv"
    path.write_text(path.read_text("utf-8").replace("\tOIHW\t", "\tIOHW\t", 1), "utf-8")
    with pytest.raises(PackError, match=r"manifest\.tsv"):
        open_pack(copied)


@pytest.mark.parametrize("command", ["build", "show", "run"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert "Example" in shown


def test_building_and_showing_say_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "dsp"
    assert main(["pack", "build", "dsp", "--out", str(folder), "--json"]) == 0
    built = json.loads(capsys.readouterr().out)
    assert main(["pack", "show", str(folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert built["cases"] == shown["required"] == sum(row["cases"] for row in shown["operations"])
    assert {row["operation"] for row in shown["operations"]} >= {"stft", "biquad", "cola"}


def test_a_folder_that_is_no_pack_is_refused(tmp_path: Path) -> None:
    assert main(["pack", "show", str(tmp_path)]) == 2
    assert main(["pack", "show", str(tmp_path / "absent")]) == 2
    assert main(["pack", "build", "absent", "--out", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


def test_results_are_read_from_npy_and_safetensors(ops: Pack, tmp_path: Path) -> None:
    y = np.arange(6, dtype=np.float32).reshape(2, 3)
    (tmp_path / "a.basic" / "out").mkdir(parents=True)
    np.save(tmp_path / "a.basic" / "out" / "y.npy", np.asfortranarray(y))
    save_file({"b.basic/out/y": y}, tmp_path / "rest.safetensors")
    results = read_results(tmp_path, ops)
    assert sorted(results.names) == ["a.basic/out/y", "b.basic/out/y"]
    for name in results.names:
        assert np.array_equal(results.read(name), y)
    assert read_results(tmp_path / "rest.safetensors", ops).names == ["b.basic/out/y"]
    save_file({"a.basic/out/y": y}, tmp_path / "twice.safetensors")
    with pytest.raises(PackError, match="twice"):
        read_results(tmp_path, ops)


def test_the_answers_of_a_pack_are_no_results(
    dsp: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port that wrote nothing, or into its copy of the pack, passed with the pack's answers."""
    copy = tmp_path / "mine.safetensors"
    shutil.copy(dsp.folder / "expected.safetensors", copy)
    for results in (dsp.folder, copy, tmp_path):
        assert main(["compare", str(dsp.folder), str(results)]) == 2
        assert "holds the pack's own answers" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("kind", ["big-endian", "truncated", "pickled", "text"])
def test_results_that_cannot_be_read_are_bad_input(
    kind: str, ops: Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a failing check: the implementation was never looked at."""
    path = tmp_path / "linear.basic" / "out" / "y.npy"
    path.parent.mkdir(parents=True)
    y = np.zeros((5, 12), np.float32)
    if kind == "pickled":
        np.save(path, np.array([{}], object), allow_pickle=True)
    else:
        np.save(path, y.astype(">f4") if kind == "big-endian" else y)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    if kind == "text":
        path.write_text("no array")
    assert main(["compare", str(ops.folder), str(tmp_path), "--only", "linear.basic"]) == 2
    assert "y" in capsys.readouterr().err
