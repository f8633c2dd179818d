"""From a name to models: where weights are looked for, and what a bag computes."""

from __future__ import annotations

import hashlib
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from demucs.apply import BagOfModels, apply_model
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file
from subjects_models import TINY

from harness.errors import CheckpointError, ParityError, WeightsUnavailableError
from harness.subjects import Architecture, load_subject, locate, separate_segment
from harness.subjects.seeded import seeded_state
from harness.subjects.weights import empty_model, fingerprint

State = dict[str, torch.Tensor]
CONFIRMED = "segment=1/2&samplerate=44100&sources=drums,bass,vocals&t_heads=4"
"""What no tensor of the small architecture shows."""


def member_state(seed: int) -> State:
    return seeded_state(empty_model(TINY), seed)


def save_th(folder: Path, signature: str, state: State) -> Path:
    """Write ``SIGNATURE-CHECKSUM.th`` as Demucs does."""
    path = folder / "new.th"
    torch.save(state, path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(folder / f"{signature}-{checksum}.th")


# --- paths ----------------------------------------------------------------------------------------


def test_every_layout_gives_the_same_weights(
    tiny: Architecture, tmp_path: Path, state: State
) -> None:
    layouts = {name: tmp_path / name for name in ("th", "tensors", "single", "hub", "bag")}
    snapshot = layouts["hub"] / "snapshots" / "abc"
    for folder in (*layouts.values(), snapshot):
        folder.mkdir(parents=True)
    save_th(layouts["th"], "aaaaaaaa", state)
    save_file(state, layouts["tensors"] / "aaaaaaaa.safetensors")
    save_file(state, layouts["single"] / "mine.safetensors")
    save_file(state, snapshot / "aaaaaaaa.safetensors")
    (layouts["hub"] / "refs").mkdir()
    (layouts["hub"] / "refs" / "main").write_text("abc")
    save_th(layouts["bag"], "cccccccc", state)
    save_th(layouts["bag"], "dddddddd", state)
    (layouts["bag"] / "tiny.yaml").write_text("models: [cccccccc]")
    paths = [
        *layouts.values(),
        layouts["single"] / "mine.safetensors",
        layouts["bag"] / "tiny.yaml",
    ]
    expected = load_subject("tiny@seeded").fingerprint
    found = [load_subject(f"tiny@{path}?{CONFIRMED}").fingerprint for path in paths]
    assert found == [expected] * len(paths)


def test_folders_that_do_not_fit_are_refused(
    tiny: Architecture, tiny_bag: Architecture, tmp_path: Path, state: State
) -> None:
    with pytest.raises(CheckpointError, match="do not exist"):
        load_subject(f"tiny@{tmp_path / 'nowhere'}")
    with pytest.raises(CheckpointError, match="0 checkpoints, and none for aaaaaaaa"):
        load_subject(f"tiny@{tmp_path}")
    file = save_th(tmp_path, "aaaaaaaa", state)
    with pytest.raises(CheckpointError, match="none for bbbbbbbb of tiny_bag"):
        load_subject(f"tiny_bag@{tmp_path}")
    with pytest.raises(CheckpointError, match=r"bag of 2 models.*one file"):
        load_subject(f"tiny_bag@{file}")
    for text, reason in (
        ("models: [aaaaaaaa, bbbbbbbb]", "lists bbbbbbbb, and there is no bbbbbbbb"),
        ("models: [aaaaaaaa]\nweights: [[1., 1.]]", "weighs 2 stems, but its models separate 3"),
        ("models: [aaaaaaaa]\nweights: [[1., 1., 0.]]", "gives a stem no weight"),
        ("models: [aaaaaaaa]\nweights: [[1., x, 0.]]", "weighs its 1 models by"),
        ("models: [aaaaaaaa]\nweights: []", "weighs its 1 models by"),
        ("models: [aaaaaaaa]\nsegment: .nan", "segment is nan, expected seconds"),
        ("models: ['../aaaaaaaa']", "expected the beginnings of files' names"),
        ("models: []", "expected signatures"),
        ("- not a bag", "no list of models"),
    ):
        (tmp_path / "tiny.yaml").write_text(text)
        with pytest.raises(CheckpointError, match=reason):
            load_subject(f"tiny@{tmp_path}?{CONFIRMED}")
    (tmp_path / "tiny.yaml").unlink()
    (tmp_path / "aaaaaaaa-00000000.th").write_bytes(b"")
    with pytest.raises(CheckpointError, match="2 files for aaaaaaaa"):
        load_subject(f"tiny@{tmp_path}")


# --- published weights ----------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State) -> Path:
    """A folder in the place of Demucs' server, an empty cache, and no hub."""
    folder = tmp_path / "server"
    folder.mkdir()
    file = save_th(folder, "aaaaaaaa", state)
    monkeypatch.setattr(locate, "_parse_remote_files", lambda _: {"aaaaaaaa": file.as_uri()})
    monkeypatch.setattr(locate, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))

    def no_connection(url: str) -> None:
        raise urllib.error.URLError("no connection to " + url)

    monkeypatch.setattr(locate, "_probe", no_connection)
    return file


def test_published_weights_are_downloaded_once(
    tiny: Architecture, server: Path, tmp_path: Path
) -> None:
    first = load_subject("tiny")
    assert (tmp_path / "cache" / "checkpoints" / server.name).read_bytes() == server.read_bytes()
    server.unlink()
    assert load_subject("tiny").fingerprint == first.fingerprint
    assert first.fingerprint == load_subject("tiny@seeded").fingerprint
    assert first.name == "tiny"


def test_cache_of_the_hub_comes_first(
    tiny: Architecture, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "aaaaaaaa.safetensors"
    save_file(member_state(5), cached)
    asked = []
    monkeypatch.setattr(
        locate, "try_to_load_from_cache", lambda *args: asked.append(args) or str(cached)
    )
    assert load_subject("tiny").fingerprint == load_subject("tiny@seeded:5").fingerprint
    assert asked == [("adefossez/Demucs-tiny", "aaaaaaaa.safetensors")]


def test_weights_that_cannot_be_had_are_an_answer_with_a_way_out(
    tiny: Architecture, server: Path, tmp_path: Path
) -> None:
    server.unlink()
    with pytest.raises(WeightsUnavailableError) as caught:
        load_subject("tiny")
    assert caught.value.exit_code == 3
    for part in ("tiny@seeded", "tiny@PATH", server.name, "no connection"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").glob("**/*.*")) == []


def test_a_damaged_download_leaves_nothing_behind(
    tiny: Architecture, server: Path, tmp_path: Path
) -> None:
    server.write_bytes(server.read_bytes()[:-1])
    with pytest.raises(WeightsUnavailableError, match="incomplete"):
        load_subject("tiny")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


# --- weights in the repository --------------------------------------------------------------------


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Path:
        pytest.fail("looked outside the repository")

    monkeypatch.setattr(locate, "_locate_member", never)


@pytest.mark.usefixtures("_offline")
def test_mini_is_loaded_from_the_repository() -> None:
    """Warnings are errors here, so the weights are not odd either."""
    subject = load_subject("mini")
    folder = Path(__file__).parents[3] / "golden" / "mini"
    assert subject.sources == ("drums", "bass", "other", "vocals", "guitar", "piano")
    assert subject.geometry.segment_length == 343_980
    assert sum(parameter.numel() for parameter in subject.model.parameters()) == 3_147_956
    for path in (folder, folder / "mini.safetensors"):
        assert load_subject(f"mini@{path}").fingerprint == subject.fingerprint


@pytest.mark.usefixtures("_offline")
def test_mini_can_be_seeded_too() -> None:
    seeded = load_subject("mini@seeded:3")
    assert seeded.name == "mini@seeded:3"
    assert seeded.fingerprint != load_subject("mini").fingerprint


@pytest.mark.usefixtures("_offline")
def test_mini_without_its_file_is_an_answer_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locate, "PROJECT", tmp_path)
    with pytest.raises(WeightsUnavailableError) as caught:
        load_subject("mini")
    assert caught.value.exit_code == 3
    missing = tmp_path / "golden" / "mini" / "mini.safetensors"
    for part in (str(missing), "install it again", "mini@seeded", "mini@PATH"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


# --- subjects -------------------------------------------------------------------------------------


def test_a_subject_says_what_it_is(tiny: Architecture) -> None:
    subject = load_subject("tiny@seeded:0")
    assert subject.name == "tiny@seeded"
    assert subject.sources == ("drums", "bass", "vocals")
    assert subject.geometry.segment_length == 22_050
    assert subject.network.bag_weights == ((1.0, 1.0, 1.0),)
    assert subject.warnings == ()
    assert subject.model is subject.models[0]
    assert isinstance(subject.model, HTDemucs)


def test_fingerprint_sees_every_bit_and_no_order(tiny: Architecture) -> None:
    subject = load_subject("tiny@seeded")
    same = load_subject("tiny@seeded").model
    weights = fingerprint([subject.model])
    assert fingerprint([same]) == weights
    same._modules = dict(reversed(list(same._modules.items())))
    assert fingerprint([same]) == weights

    weight = next(same.parameters()).view(torch.int32)
    weight.view(-1)[0] ^= 1
    assert fingerprint([same]) != weights
    assert load_subject("tiny@seeded:1").fingerprint != subject.fingerprint


def test_fingerprint_sees_what_no_tensor_shows(tiny: Architecture) -> None:
    """Goldens and packages are kept by it: those of another segment are other ones."""
    options = ("segment=1", "samplerate=48000", "sources=a,b,c", "t_heads=2", "freq_emb=0.1")
    names = ["tiny@seeded", *(f"tiny@seeded?{option}" for option in options)]
    assert len({load_subject(name).fingerprint for name in names}) == len(names)
    assert (
        load_subject("tiny@seeded?segment=0.5").fingerprint
        == load_subject("tiny@seeded").fingerprint
    )


def test_fingerprint_of_a_published_architecture_is_of_its_weights_alone() -> None:
    subject = load_subject("mini@seeded")
    assert subject.fingerprint == fingerprint(subject.models)


def test_fingerprint_sees_shapes_and_names() -> None:
    def of(**tensors: torch.Tensor) -> str:
        module = torch.nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return fingerprint([module])

    ones = torch.ones(6)
    assert len({of(a=ones), of(b=ones), of(a=ones.view(2, 3)), of(a=ones.double())}) == 4


def test_separation_of_one_model_is_its_own_forward(tiny: Architecture, mix: torch.Tensor) -> None:
    subject = load_subject("tiny@seeded")
    stems = separate_segment(subject, mix)
    assert stems.shape == (3, 2, 22_050)
    with torch.no_grad():
        assert torch.equal(stems, subject.model(mix)[0])


def test_separation_of_a_bag_is_that_of_demucs(tiny_bag: Architecture, mix: torch.Tensor) -> None:
    """Oracle: Demucs' own apply_model on its own bag, without shifts and splits."""
    subject = load_subject("tiny_bag@seeded")
    bag = BagOfModels(list(subject.models), [list(row) for row in subject.network.bag_weights])
    expected = apply_model(bag, mix, shifts=0, split=False)[0]
    torch.testing.assert_close(separate_segment(subject, mix), expected, rtol=1e-6, atol=1e-8)
    assert len({fingerprint([model]) for model in subject.models}) == 2


def test_a_bag_has_no_single_model(tiny_bag: Architecture) -> None:
    with pytest.raises(ParityError, match=r"bag of 2 models.*Subject\.models"):
        _ = load_subject("tiny_bag@seeded").model


def test_a_bag_in_a_folder_with_its_own_list(tiny_bag: Architecture, tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "models": ["cccccccc", "dddddddd"],
        "weights": [list(row) for row in tiny_bag.bag_weights],
    }
    (tmp_path / "tiny_bag.yaml").write_text(yaml.safe_dump(content))
    states = member_state(1), member_state(2)
    for signature, state in zip(content["models"], states, strict=True):
        save_th(tmp_path, signature, state)
    subject = load_subject(f"tiny_bag@{tmp_path}?{CONFIRMED}")
    for model, state in zip(subject.models, states, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("shape", [(2, 22_050), (1, 2, 22_049), (1, 1, 22_050), (2, 2, 22_050)])
def test_audio_that_is_not_one_segment_is_refused(
    tiny: Architecture, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ParityError, match="separates"):
        separate_segment(load_subject("tiny@seeded"), torch.zeros(shape))
