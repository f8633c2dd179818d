"""Building, fetching and recording goldens: what a suite gets, and what never happens unasked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from golden_fakes import VERSIONS, FakeBuilder, FakeSubject, make_store
from safetensors import safe_open

from harness.errors import GoldenError, GoldenUnavailableError, UnknownNameError
from harness.golden import GoldenStatus, GoldenStore
from harness.golden.tensorfile import write_tensors

Store = GoldenStore[FakeSubject]


def builds(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_load_returns_what_was_built(recorded: Store, subject: FakeSubject) -> None:
    expected = FakeBuilder()(subject, recorded.cases["noise"])
    with recorded.load(subject, "noise") as golden:
        assert golden.names == ("audio", "freq", "time")
        for name, tensor in expected.items():
            np.testing.assert_array_equal(golden[name], tensor, strict=True)
        assert "freq" in golden
        with pytest.raises(UnknownNameError, match="did you mean 'freq'"):
            golden["frequ"]


def test_arrays_outlive_the_golden(recorded: Store, subject: FakeSubject) -> None:
    with recorded.load(subject, "noise") as golden:
        audio = golden["audio"]
    recorded.layout.tensors("tiny", "noise").unlink()
    assert audio.flat[0] == 0.5


def test_load_never_builds(store: Store, subject: FakeSubject) -> None:
    with pytest.raises(GoldenUnavailableError, match="never built here"):
        store.load(subject, "noise")
    assert store.status(subject, "noise").status is GoldenStatus.NOT_BUILT


def test_fetch_makes_what_was_never_built_and_says_so(store: Store, subject: FakeSubject) -> None:
    fetched = store.fetch(subject, "noise")
    assert fetched.finding.was is GoldenStatus.NOT_BUILT
    assert "made in this run: was not_built" in fetched.finding.message
    assert fetched.require()["audio"].shape == (1, 2, 50)


def test_a_golden_made_on_demand_is_made_in_a_run_only_if_it_matches(
    recorded: Store, subject: FakeSubject, root: Path
) -> None:
    for lost in ("tensors/ledger.json", "tensors/tiny/noise.safetensors"):
        (root / lost).unlink()
    assert recorded.fetch(subject, "noise").finding.run_status == "made"
    (root / "tensors/tiny/noise.safetensors").unlink()
    assert recorded.fetch(subject, "noise").finding.run_status == "missing"
    assert recorded.fetch(subject, "noise").finding.run_status == "match"


def test_a_golden_that_drifts_when_made_is_not_handed_out(
    recorded: Store, subject: FakeSubject, root: Path
) -> None:
    (root / "tensors/tiny/noise.safetensors").unlink()
    fetched = make_store(root, FakeBuilder(scale=1.1)).fetch(subject, "noise")
    assert fetched.golden is None
    assert fetched.finding.run_status == "drift"
    with pytest.raises(GoldenUnavailableError, match="tensor '"):
        fetched.require()


@pytest.mark.parametrize("damage", ["corrupt", "stale", "drift"])
def test_fetch_heals_nothing_silently(
    recorded: Store, subject: FakeSubject, root: Path, tmp_path: Path, damage: str
) -> None:
    path = recorded.layout.tensors("tiny", "noise")
    versions = {}
    if damage == "corrupt":
        path.write_bytes(b"x" * path.stat().st_size)
    elif damage == "stale":
        versions = {"torch": "2.14.0"}
    else:
        make_store(root, FakeBuilder(scale=1.1)).build(subject, "noise", force=True)
    before = path.read_bytes()
    log = tmp_path / "log"
    fetched = make_store(root, FakeBuilder(log=log), **versions).fetch(subject, "noise")
    assert fetched.finding.status.value == damage
    assert fetched.finding.run_status == damage
    assert fetched.golden is None
    assert builds(log) == 0
    assert path.read_bytes() == before
    with pytest.raises(GoldenUnavailableError, match=f"golden 'noise' of 'tiny' is {damage}"):
        fetched.require()


def test_build_leaves_a_sound_golden_alone_unless_forced(
    store: Store, subject: FakeSubject, root: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    store = make_store(root, FakeBuilder(log=log))
    assert store.build(subject, "noise").was is GoldenStatus.NOT_BUILT
    assert store.build(subject, "noise").was is None
    assert builds(log) == 1
    assert store.build(subject, "noise", force=True).was is GoldenStatus.UNRECORDED
    assert builds(log) == 2


@pytest.mark.parametrize("damage", ["corrupt", "missing", "stale"])
def test_an_explicit_build_repairs(
    recorded: Store, subject: FakeSubject, root: Path, damage: str
) -> None:
    path = recorded.layout.tensors("tiny", "noise")
    if damage == "corrupt":
        path.write_bytes(b"")
    elif damage == "missing":
        path.unlink()
    store = make_store(root, **({"demucs": "4.1.1"} if damage == "stale" else {}))
    finding = store.build(subject, "noise")
    assert finding.status is GoldenStatus.MATCH
    assert finding.was is GoldenStatus(damage)


def test_the_same_tensors_give_the_same_file(
    store: Store, subject: FakeSubject, root: Path
) -> None:
    contents = set()
    for _ in range(4):
        store.build(subject, "noise", force=True)
        contents.add(store.layout.tensors("tiny", "noise").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_file_is_what_the_safetensors_library_writes(tmp_path: Path, dtype: type) -> None:
    rng = np.random.default_rng(0)
    shapes = {"time": (1, 2, 3), "a tap/ü": (5,), "b": (), "freq": (2, 2, 2, 2)}
    tensors = {name: np.asarray(rng.standard_normal(s), dtype) for name, s in shapes.items()}
    path = tmp_path / "x.safetensors"
    write_tensors(path, tensors, {"subject": "tiny"})
    expected = safetensors.numpy.save(tensors, {"golden": '{"subject":"tiny"}'})
    assert path.read_bytes() == expected


def test_precisions_may_differ_within_a_file(tmp_path: Path) -> None:
    tensors = {
        "half": np.ones(3, np.float16),
        "single": np.full(5, 2.0, np.float32),
        "double": np.full(2, 3.0, np.float64),
        "big-endian": np.full(2, 4.0, ">f4"),
    }
    path = tmp_path / "x.safetensors"
    write_tensors(path, tensors, {})
    read = safetensors.numpy.load_file(path)
    assert {name: tensor.dtype.name for name, tensor in read.items()} == {
        "half": "float16",
        "single": "float32",
        "double": "float64",
        "big-endian": "float32",
    }
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor)


def test_a_strided_tensor_is_stored_as_it_looks(root: Path, subject: FakeSubject) -> None:
    tensor = np.arange(12, dtype=np.float32).reshape(3, 4).T

    store = make_store(root, lambda subject, case: {"audio": tensor})
    store.build(subject, "noise")
    with store.load(subject, "noise") as golden:
        np.testing.assert_array_equal(golden["audio"], tensor, strict=True)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({}, "without tensors"),
        ({"audio": np.zeros(0, np.float32)}, "not empty"),
        ({"audio": np.zeros(3, np.int64)}, "int64"),
        ({"audio": np.array([1, np.nan, 2], np.float32)}, "'audio' holds inf or NaN"),
        ({"audio": np.array([1, np.inf, 2], np.float32)}, "'audio' holds inf or NaN"),
    ],
)
def test_what_can_vouch_for_nothing_is_not_stored(
    recorded: Store,
    subject: FakeSubject,
    root: Path,
    tensors: dict[str, np.ndarray],
    words: str,
) -> None:
    broken = make_store(root, lambda subject, case: tensors)
    with pytest.raises(GoldenError, match=words):
        broken.build(subject, "noise", force=True)
    assert recorded.status(subject, "noise").status is GoldenStatus.MATCH


def test_the_file_says_where_it_comes_from(recorded: Store, subject: FakeSubject) -> None:
    with safe_open(recorded.layout.tensors("tiny", "noise"), framework="numpy") as file:
        provenance = json.loads(file.metadata()["golden"])
    assert provenance == {
        "format": 1,
        "subject": "tiny",
        "case": "noise",
        "recipe": recorded.cases["noise"].hash,
        "subject_fingerprint": subject.fingerprint,
        "versions": dict(VERSIONS),
        "seed": 42,
    }


def test_a_run_never_writes_the_manifest(recorded: Store, subject: FakeSubject, root: Path) -> None:
    manifest = root / "manifest.json"
    before = manifest.read_bytes()
    other = make_store(root, FakeBuilder(scale=2.0))
    other.build(subject, "noise", force=True)
    other.build(subject, "silence")
    other.fetch(subject, "noise")
    other.verify(subject, "noise")
    assert manifest.read_bytes() == before


def test_recording_is_repeatable_byte_for_byte(
    recorded: Store, subject: FakeSubject, root: Path
) -> None:
    manifest = root / "manifest.json"
    recorded.build(subject, "silence", record=True)
    before = manifest.read_bytes()
    for case in ("silence", "noise"):
        recorded.build(subject, case, force=True, record=True)
    assert manifest.read_bytes() == before
    assert b"built_at" not in before


def test_recording_a_drifted_golden_accepts_it_without_building_again(
    recorded: Store, subject: FakeSubject, root: Path, tmp_path: Path
) -> None:
    make_store(root, FakeBuilder(scale=1.1)).build(subject, "noise", force=True)
    log = tmp_path / "log"
    store = make_store(root, FakeBuilder(log=log))
    assert store.build(subject, "noise", record=True).status is GoldenStatus.MATCH
    assert builds(log) == 0


def test_one_tensor_is_one_line_of_the_manifest(recorded: Store, root: Path) -> None:
    lines = (root / "manifest.json").read_text().splitlines()
    assert sum('"samples"' in line for line in lines) == 3


def test_a_subject_at_a_path_is_stored_but_not_recorded(store: Store, root: Path) -> None:
    private = FakeSubject("htdemucs@/home/someone/weights.th", "c" * 64)
    store.build(private, "noise")
    folder = store.layout.tensors(private.name, "noise").parent
    assert folder.parent == root / "tensors"
    assert folder != store.layout.tensors("htdemucs@/home/someone-weights.th", "noise").parent
    with pytest.raises(GoldenError, match="can't be recorded"):
        store.build(private, "noise", record=True)
    assert not (root / "manifest.json").exists()
