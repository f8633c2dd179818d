"""If these fail, machines that share a store take wrong bytes for right ones, or lose things."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import main
from harness.digests import digest_of
from harness.errors import StoreError
from harness.golden import GoldenStore
from harness.precision import sweep
from harness.precision.sweep import Cell, FolderOfResults, Result, run_sweep
from harness.store import Store, collect, holdings, pack_folder, unpack_folder
from harness.workbench import packages, stored
from harness.workbench.packages import Packages
from harness.workbench.stored import StoredGoldens, StoredResults

LATER = datetime.now(timezone.utc) + timedelta(days=3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "far"), tmp_path / "near")


def files(store: Store, folder: str) -> list[Path]:
    return sorted(p for p in Path(store.url, folder).rglob("*") if p.is_file())


@given(content=st.binary(max_size=200))
def test_what_is_kept_is_found_on_another_machine(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    one, other = (Store(str(folder / "far"), folder / name) for name in ("one", "other"))
    assert other.find("results", "k") is None
    one.keep("results", "k", content)
    found = other.find("results", "k")
    assert found is not None
    assert found.read_bytes() == content


def test_the_first_that_is_kept_stays(store: Store) -> None:
    store.keep("packages", "k", b"one")
    store.keep("packages", "k", b"other")
    found = pickle.loads(pickle.dumps(store)).find("packages", "k")
    assert found.read_bytes() == b"one"


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_refused_by_name(bit: int, tmp_path: Path, store: Store) -> None:
    store.keep("goldens", "k", bytes(range(100)))
    for folder in ("objects", "names"):
        (file,) = files(store, folder)
        content = bytearray(file.read_bytes())
        content[bit * 7] ^= 1 << bit
        right = file.read_bytes()
        file.write_bytes(bytes(content))
        with pytest.raises(StoreError, match=file.name):
            Store(store.url, tmp_path / "fresh").find("goldens", "k")
        file.write_bytes(right)
    assert Store(store.url, tmp_path / "fresh").find("goldens", "k") is not None


def test_a_damaged_copy_of_this_machine_is_fetched_again(store: Store) -> None:
    store.keep("goldens", "k", b"right")
    found = store.find("goldens", "k")
    assert found is not None
    found.write_bytes(b"wrong")
    again = store.find("goldens", "k")
    assert again is not None
    assert again.read_bytes() == b"right"


def test_an_object_that_is_gone_is_an_error_and_not_an_absence(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what the message says is a way out of it."""
    store.keep("goldens", "k", b"right")
    store.keep("goldens", "other", b"right, too")
    gone = store.find("goldens", "k")
    assert gone is not None
    Path(store.url, "objects", gone.name[:2], gone.name).unlink()
    fresh = Store(store.url, tmp_path / "fresh")
    with pytest.raises(StoreError, match="is gone") as told:
        fresh.find("goldens", "k")
    command = str(told.value).rpartition("parity ")[2]
    assert main(command.split()) == 0
    assert "damaged: names/goldens/k" in capsys.readouterr().out
    assert fresh.find("goldens", "k") is None
    assert fresh.find("goldens", "other") is not None
    fresh.keep("goldens", "k", b"right")
    assert fresh.find("goldens", "k") is not None


@pytest.mark.parametrize("key", ["../x", "", "a/b", "x" * 300, "\n"])
def test_a_key_can_not_lead_out_of_the_store(key: str, store: Store) -> None:
    with pytest.raises(StoreError, match="can't be kept"):
        store.keep("results", key, b"")


def test_only_what_nothing_leads_to_is_collected_and_not_at_once(store: Store) -> None:
    store.keep("results", "a", b"1")
    store.keep("results", "b", b"2")
    files(store, "names")[0].unlink()
    assert collect(store).objects == ()
    assert len(collect(store, now=LATER, dry=True).objects) == 1
    assert len(files(store, "objects")) == 2
    collect(store, now=LATER)
    assert [file.read_bytes() for file in files(store, "objects")] == [b"2"]
    assert store.find("results", "b") is not None


def test_old_names_go_if_that_is_asked_for(store: Store) -> None:
    store.keep("results", "a", b"1")
    store.keep("packages", "b", b"22")
    assert holdings(store).names == {"goldens": 0, "packages": 1, "results": 1}
    assert holdings(store).bytes == 3
    os.utime(Path(store.url, "names/results/a"), (1, 1))
    os.utime(
        Path(
            store.url,
            f"objects/{store.find('results', 'a').name[:2]}",
            store.find("results", "a").name,
        ),
        (1, 1),
    )  # type: ignore[union-attr]
    done = collect(store, older_than=timedelta(days=30))
    assert done.names == ("names/results/a",)
    assert done.bytes == 1
    assert store.find("results", "a") is None
    assert store.find("packages", "b") is not None


def test_damage_is_removed_so_that_it_can_be_made_again(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.keep("results", "a", b"1")
    store.keep("results", "b", b"2")
    damaged = Path(
        store.url, "objects", store.find("results", "a").name[:2], store.find("results", "a").name
    )  # type: ignore[union-attr]
    damaged.write_bytes(b"3")
    Path(store.url, "names/results/b").write_bytes(b"nonsense")
    assert main(["store", "gc", store.url]) == 2
    assert "--verify" in capsys.readouterr().err
    assert main(["store", "gc", store.url, "--verify"]) == 0
    said = capsys.readouterr().out
    assert damaged.name in said
    assert "names/results/b" in said
    fresh = Store(store.url, tmp_path / "fresh")
    assert fresh.find("results", "a") is None
    fresh.keep("results", "a", b"1")
    assert fresh.find("results", "a") is not None


@pytest.mark.parametrize(
    ("url", "said"), [("nonsense://x", "can't be opened"), ("a::s3://b", "chain of URLs")]
)
def test_a_store_that_is_none_is_refused(
    url: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "show", url]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def numbered(count: int) -> list[Cell]:
    return [Cell("s", "fp16", f"case{n}", "storage", f"{n:064x}") for n in range(count)]


class Measure:
    """Measures, and counts how often."""

    def __init__(self) -> None:
        self.taken = 0

    def __call__(self, cell: Cell) -> Result:
        self.taken += 1
        return {"snr_db": int(cell.key, 16) / 7}


def test_a_result_of_a_store_that_is_no_result_is_told(store: Store, tmp_path: Path) -> None:
    cell = numbered(1)[0]
    store.keep("results", cell.key, b"nonsense")
    results = StoredResults(store, FolderOfResults(tmp_path / "results"))
    with pytest.raises(StoreError, match=r"result 0+ of .* is no JSON"):
        results.get(cell)


def test_a_second_machine_measures_nothing(store: Store, tmp_path: Path) -> None:
    found = []
    for name, expected in (("one", 9), ("other", 0)):
        machine = Store(store.url, tmp_path / name / "cache")
        results = StoredResults(machine, FolderOfResults(tmp_path / name / "results"))
        measure = Measure()
        found.append(run_sweep(numbered(9), measure, results))
        assert measure.taken == expected
    assert (
        found[0] == found[1] == run_sweep(numbered(9), Measure(), FolderOfResults(tmp_path / "x"))
    )


def test_a_golden_is_built_once_for_all_machines(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def build(subject: Any, case: Any) -> dict[str, np.ndarray]:
        built.append(case.name)
        return {"freq": np.arange(6, dtype=np.float32).reshape(2, 3), "wide": np.ones(3)}

    monkeypatch.setattr(stored, "build_tensors", build)
    subject = SimpleNamespace(name="net", fingerprint="f" * 64)
    tensors = []
    for name in ("one", "other"):
        root = tmp_path / name
        root.mkdir()
        recipe = '[noise]\nkind = "noise"\nseed = 3\nwhy = "w"\n'
        (root / "recipes.toml").write_text(Path("golden/recipes.toml").read_text() or recipe)
        shared = StoredGoldens(Store(store.url, root / "cache"))
        goldens: GoldenStore[Any] = GoldenStore(root, shared)
        assert goldens.build(subject, "noise").usable
        with goldens.load(subject, "noise") as golden:
            tensors.append({key: golden[key] for key in golden.names})
    assert built == ["noise"]
    for key in ("freq", "wide"):
        np.testing.assert_array_equal(tensors[0][key], tensors[1][key], strict=True)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "X.mlpackage"
    (folder / "Data").mkdir(parents=True)
    (folder / "Manifest.json").write_text("{}")
    (folder / "Data" / "weight.bin").write_bytes(bytes(1000))
    return folder


def test_a_package_of_another_run_is_taken_and_known_as_such(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = []

    def convert(traced: Any, *, recipe: Any, out: Path, **words: Any) -> None:
        converted.append(recipe.name)
        out.mkdir()
        (out / "Manifest.json").write_text(recipe.name)

    monkeypatch.setattr(packages, "convert_to_coreml", convert)
    monkeypatch.setattr(packages, "trace_inner_model", lambda module: module)
    subject = SimpleNamespace(fingerprint="f" * 64, extract=lambda: None)
    runs = [Packages(tmp_path / run, lambda name: subject, store) for run in "abc"]  # type: ignore[arg-type,return-value]
    first, second = (run.path("net", "fp32") for run in runs[:2])
    assert (converted, runs[0].is_reused(first), runs[1].is_reused(second)) == (
        ["fp32"],
        False,
        True,
    )
    assert digest_of(first) == digest_of(second)
    monkeypatch.setattr(sweep, "source_hash", lambda *rooms: "other code")
    assert not runs[2].is_reused(runs[2].path("net", "fp32"))
    assert converted == ["fp32", "fp32"]


def test_a_package_comes_back_the_same_on_a_machine_that_has_none(
    package: Path, store: Store, tmp_path: Path
) -> None:
    store.keep("packages", "k", pack_folder(package))
    assert pack_folder(package) == pack_folder(package)
    assert digest_of(stored.fetched_package(store, "k")) == digest_of(package)
    with pytest.raises(StoreError, match="has no package"):
        stored.fetched_package(store, "other")


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "link"])
def test_an_archive_can_not_write_outside_its_folder(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as packed:
        row = tarfile.TarInfo(name)
        if name == "link":
            row.type, row.linkname = tarfile.SYMTYPE, "/etc"
        packed.addfile(row, io.BytesIO())
    with pytest.raises(StoreError, match="no file of a package"):
        unpack_folder(archive, tmp_path / "in" / "X.mlpackage")
    assert not (tmp_path / "in" / "X.mlpackage").exists()
    assert not (tmp_path / "in" / "out").exists()
    assert not (tmp_path / "out").exists()
