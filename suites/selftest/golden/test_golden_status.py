"""Every state that a golden can be in is told apart, by name, with the next step."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden_fakes import RECIPES, FakeBuilder, FakeSubject, make_root, make_store

from harness.errors import GoldenError, GoldenUnavailableError, UnknownNameError
from harness.golden import GoldenStatus, GoldenStore

Store = GoldenStore[FakeSubject]


def test_nothing_built_is_not_built(store: Store, subject: FakeSubject) -> None:
    finding = store.status(subject, "noise")
    assert finding.status is GoldenStatus.NOT_BUILT
    assert not finding.usable
    assert "parity golden build --subject tiny --case noise" in finding.message


def test_status_writes_nothing(store: Store, subject: FakeSubject, root: Path) -> None:
    store.status(subject, "noise")
    store.show()
    assert [path.name for path in root.iterdir()] == ["recipes.toml"]


def test_a_golden_without_a_committed_fingerprint_is_unrecorded(
    store: Store, subject: FakeSubject
) -> None:
    finding = store.build(subject, "noise")
    assert finding.status is GoldenStatus.UNRECORDED
    assert finding.was is GoldenStatus.NOT_BUILT
    assert "--record" in finding.next_step


def test_a_recorded_golden_matches(recorded: Store, subject: FakeSubject) -> None:
    finding = recorded.status(subject, "noise")
    assert finding.status is GoldenStatus.MATCH
    assert finding.usable
    assert finding.next_step == ""


def test_a_vanished_file_is_missing(recorded: Store, subject: FakeSubject) -> None:
    recorded.layout.tensors("tiny", "noise").unlink()
    finding = recorded.status(subject, "noise")
    assert finding.status is GoldenStatus.MISSING
    assert "gone" in finding.reason


def test_every_flipped_byte_is_corrupt(recorded: Store, subject: FakeSubject) -> None:
    path = recorded.layout.tensors("tiny", "noise")
    sound = path.read_bytes()
    unseen = []
    for offset in range(len(sound)):
        damaged = bytearray(sound)
        damaged[offset] ^= 1 << (offset % 8)
        path.write_bytes(damaged)
        if recorded.status(subject, "noise").status is not GoldenStatus.CORRUPT:
            unseen.append(offset)
    assert unseen == []
    path.write_bytes(sound)
    assert recorded.status(subject, "noise").status is GoldenStatus.MATCH


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b""])
def test_another_length_is_corrupt_even_without_hashing(
    recorded: Store, subject: FakeSubject, change: object
) -> None:
    path = recorded.layout.tensors("tiny", "noise")
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    for deep in (True, False):
        finding = recorded.status(subject, "noise", deep=deep)
        assert finding.status is GoldenStatus.CORRUPT
        assert "bytes, expected" in finding.reason


def test_the_golden_of_another_subject_is_refused_by_name(
    recorded: Store, subject: FakeSubject
) -> None:
    other = FakeSubject("other", "b" * 64)
    recorded.build(other, "noise")
    shutil.copy(recorded.layout.tensors("other", "noise"), recorded.layout.tensors("tiny", "noise"))
    finding = recorded.status(subject, "noise")
    assert finding.status is GoldenStatus.CORRUPT
    assert "it is the golden 'noise' of 'other'" in finding.reason
    with pytest.raises(GoldenUnavailableError, match="golden 'noise' of 'other'"):
        recorded.load(subject, "noise")


def test_the_golden_of_another_case_is_refused_by_name(
    recorded: Store, subject: FakeSubject
) -> None:
    recorded.build(subject, "silence")
    shutil.copy(
        recorded.layout.tensors("tiny", "silence"), recorded.layout.tensors("tiny", "noise")
    )
    assert "it is the golden 'silence' of 'tiny'" in recorded.status(subject, "noise").reason


def test_other_weights_under_the_same_name_are_stale(recorded: Store) -> None:
    finding = recorded.status(FakeSubject("tiny", "b" * 64), "noise")
    assert finding.status is GoldenStatus.STALE
    assert "weights aaaaaaaaaaaa (now bbbbbbbbbbbb)" in finding.reason


@pytest.mark.parametrize("package", ["torch", "demucs", "numpy", "harness"])
def test_another_version_of_what_computes_is_stale(
    recorded: Store, subject: FakeSubject, root: Path, package: str
) -> None:
    finding = make_store(root, **{package: "99.0"}).status(subject, "noise")
    assert finding.status is GoldenStatus.STALE
    assert f"{package} " in finding.reason
    assert "99.0" in finding.reason


@pytest.mark.parametrize(("package", "version"), [("python", "3.12.1"), ("torch", "2.13.0+cpu")])
def test_another_python_or_build_tag_is_not_stale(
    recorded: Store, subject: FakeSubject, root: Path, package: str, version: str
) -> None:
    finding = make_store(root, **{package: version}).status(subject, "noise")
    assert finding.status is GoldenStatus.MATCH


def test_another_recipe_is_stale(recorded: Store, subject: FakeSubject, root: Path) -> None:
    make_root(root, RECIPES.replace("seed = 42", "seed = 43"))
    finding = make_store(root).status(subject, "noise")
    assert finding.status is GoldenStatus.STALE
    assert "recipe" in finding.reason


def test_another_reason_in_the_recipe_changes_nothing(
    recorded: Store, subject: FakeSubject, root: Path
) -> None:
    make_root(root, RECIPES.replace("every frequency at once", "all of them"))
    assert make_store(root).status(subject, "noise").status is GoldenStatus.MATCH


def test_a_committed_fingerprint_of_other_weights_is_stale_until_accepted(
    recorded: Store, root: Path
) -> None:
    retrained = FakeSubject("tiny", "b" * 64)
    finding = recorded.build(retrained, "noise")
    assert finding.status is GoldenStatus.STALE
    assert "manifest.json is of another weights" in finding.reason
    assert "--record" in finding.next_step
    assert recorded.build(retrained, "noise", record=True).status is GoldenStatus.MATCH


def test_the_last_bits_of_another_processor_match(
    recorded: Store, subject: FakeSubject, root: Path
) -> None:
    finding = make_store(root, FakeBuilder(scale=1 + 1e-6)).build(subject, "noise", force=True)
    assert finding.status is GoldenStatus.MATCH


def test_drift_names_the_tensor_the_place_and_the_size(
    recorded: Store, subject: FakeSubject, root: Path
) -> None:
    finding = make_store(root, FakeBuilder(scale=1 + 1e-4)).build(subject, "noise", force=True)
    assert finding.status is GoldenStatus.DRIFT
    assert not finding.usable
    assert finding.reason.startswith("tensor '")
    assert "relative difference 0.0001" in finding.reason
    assert "--record" in finding.next_step


def test_a_drift_after_an_upgrade_names_the_version(
    recorded: Store, subject: FakeSubject, root: Path
) -> None:
    upgraded = make_store(root, FakeBuilder(scale=1.01), torch="2.14.0")
    finding = upgraded.build(subject, "noise")
    assert finding.status is GoldenStatus.DRIFT
    assert "versions that differ: torch 2.13.0 (now 2.14.0)" in finding.reason


@pytest.mark.parametrize("renamed", [{"time": "thyme"}, {"time": None}])
def test_another_set_of_tensors_is_drift(
    recorded: Store, subject: FakeSubject, root: Path, renamed: dict[str, str | None]
) -> None:
    def builder(subject: FakeSubject, case: object) -> dict[str, np.ndarray]:
        tensors = FakeBuilder()(subject, case)  # type: ignore[arg-type]
        return {
            str(renamed.get(name, name)): tensor
            for name, tensor in tensors.items()
            if renamed.get(name, name) is not None
        }

    finding = make_store(root, builder).build(subject, "noise", force=True)
    assert finding.status is GoldenStatus.DRIFT
    assert "'time' is recorded but not built" in finding.reason


def test_verify_sees_a_ledger_that_lies(recorded: Store, subject: FakeSubject, root: Path) -> None:
    ledger = root / "tensors" / "ledger.json"
    document = json.loads(ledger.read_text())
    document["goldens"]["tiny"]["noise"]["current"]["tensors"]["freq"]["rms"] *= 1.01
    ledger.write_text(json.dumps(document))
    finding = recorded.verify(subject, "noise")
    assert finding.status is GoldenStatus.CORRUPT
    assert "tensor 'freq', rms" in finding.reason


def test_verify_confirms_a_sound_golden(recorded: Store, subject: FakeSubject) -> None:
    assert recorded.verify(subject, "noise").status is GoldenStatus.MATCH


@pytest.mark.parametrize("name", ["manifest.json", "tensors/ledger.json"])
@pytest.mark.parametrize("cut", [0, 1, 40, -5])
def test_a_truncated_document_is_one_clear_error(
    recorded: Store, subject: FakeSubject, root: Path, name: str, cut: int
) -> None:
    document = root / name
    document.write_text(document.read_text()[:cut])
    with pytest.raises(GoldenError, match=document.name):
        recorded.status(subject, "noise")


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"format": 99, "goldens": {}}',
        '{"format": 1, "goldens": []}',
        '{"format": 1, "goldens": {"tiny": {"noise": 1}}}',
        '{"format": 1, "goldens": {"tiny": {"noise": {"current": {"seed": 1}, "seed": 1}}}}',
    ],
)
@pytest.mark.parametrize("name", ["manifest.json", "tensors/ledger.json"])
def test_a_document_of_another_form_is_one_clear_error(
    recorded: Store, subject: FakeSubject, root: Path, name: str, text: str
) -> None:
    (root / name).write_text(text)
    with pytest.raises(GoldenError, match=(root / name).name):
        recorded.status(subject, "noise")


def test_an_unknown_case_names_the_near_match(store: Store, subject: FakeSubject) -> None:
    for ask in (store.status, store.load, store.fetch, store.build, store.verify):
        with pytest.raises(UnknownNameError, match="did you mean 'noise'"):
            ask(subject, "nose")


def test_a_file_that_the_ledger_does_not_know_is_not_trusted(
    recorded: Store, subject: FakeSubject, root: Path
) -> None:
    (root / "tensors" / "ledger.json").unlink()
    finding = recorded.status(subject, "noise")
    assert finding.status is GoldenStatus.NOT_BUILT
    assert "ledger doesn't know it" in finding.reason


def test_show_lists_what_is_built_or_committed(
    recorded: Store, subject: FakeSubject, root: Path
) -> None:
    recorded.build(subject, "silence")
    recorded.layout.tensors("tiny", "noise").unlink()
    make_root(root, RECIPES.split("[case.silence]")[0])
    noise, silence = make_store(root).show()
    assert (noise.case, noise.finding.status) == ("noise", GoldenStatus.MISSING)
    assert noise.committed is not None
    assert (silence.case, silence.finding.status) == ("silence", GoldenStatus.STALE)
    assert silence.committed is None
