"""What other trainers save, and networks that are none of ours."""

from __future__ import annotations

import sys
import types
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file
from variants import BASE, live_model, saved

from harness.errors import CheckpointError, ParityError
from harness.subjects import Subject, load_subject
from harness.workbench import open_separator

State = dict[str, torch.Tensor]
ARGUMENTS = BASE | {"sources": ["vocals", "other"], "samplerate": 48_000, "segment": 0.5}
UNSEEN = "segment=0.5&samplerate=48000&sources=vocals,other&t_heads=2"


@pytest.fixture(scope="module")
def state() -> State:
    return live_model(ARGUMENTS).state_dict()


def written(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def expect(subject: Subject, state: State) -> None:
    """Check that ``subject`` is the network of this module, with these weights."""
    assert subject.sources == ("vocals", "other")
    assert (subject.geometry.sample_rate, subject.geometry.segment_length) == (48_000, 24_000)
    own = subject.model.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], value.float()) for name, value in state.items())


@pytest.mark.parametrize(
    ("suffix", "prefix"),
    [
        (".th", ""),
        (".pt", "module."),
        (".pth", "model."),
        (".ckpt", "_orig_mod.module.model."),
        (".bin", ""),
        (".safetensors", "model."),
    ],
)
def test_state_dicts_in_every_file_and_under_every_prefix(
    tmp_path: Path, state: State, suffix: str, prefix: str
) -> None:
    named = {prefix + name: tensor for name, tensor in state.items()}
    path = written(tmp_path / f"net{suffix}", named)
    subject = load_subject(f"htdemucs@{path}?{UNSEEN}")
    expect(subject, state)
    assert subject.warnings == ()
    assert subject.notes == ((f"the prefix {prefix!r} was taken off the names",) if prefix else ())


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [(torch.float16, ".th"), (torch.bfloat16, ".safetensors"), (torch.float64, ".pt")],
)
def test_other_kinds_of_floats_are_cast_with_a_note(
    tmp_path: Path, state: State, kind: torch.dtype, suffix: str
) -> None:
    cast = {name: tensor.to(kind) for name, tensor in state.items()}
    subject = load_subject(f"mini@{written(tmp_path / f'net{suffix}', cast)}?{UNSEEN}")
    expect(subject, cast)
    name = str(kind).removeprefix("torch.")
    assert subject.notes == (f"{len(state)} tensors are stored as {name} and were cast to float32",)


def demucs_options() -> dict[str, Any]:
    """The part of Demucs' training configuration that its ``get_model`` reads."""
    own = {
        key: ARGUMENTS[key]
        for key in ("channels", "depth", "dconv_mode", "bottom_channels", "t_layers", "t_heads")
    }
    dataset = {"sources": ["vocals", "other"], "channels": 2, "samplerate": 48_000, "segment": 11}
    return {
        "model": "htdemucs",
        "model_segment": 0.5,
        "htdemucs": own,
        "dset": dataset,
        "demucs": {"channels": 64},
        "optim": {"lr": 3e-4},
    }


def solver(state: State, **more: Any) -> dict[str, Any]:
    worse = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 3e-4}]}
    history = [{"train": {"loss": 1.0}}]
    content = {"state": worse, "best_state": state, "optimizer": optimizer, "history": history}
    return content | more


def test_the_solver_of_demucs(tmp_path: Path, state: State) -> None:
    path = written(tmp_path / "checkpoint.th", solver(state, training_args=demucs_options()))
    subject = load_subject(f"htdemucs@{path}")
    expect(subject, state)
    assert subject.warnings == ()
    assert "best state" in subject.notes[0]
    first = solver(state, training_args=demucs_options()) | {"best_state": None, "state": state}
    expect(load_subject(f"htdemucs@{written(tmp_path / 'first.th', first)}"), state)
    silent = written(tmp_path / "silent.th", solver(state))
    expect(load_subject(f"htdemucs@{silent}?{UNSEEN}"), state)


def test_the_solver_of_demucs_with_a_model_of_another_kind(tmp_path: Path, state: State) -> None:
    options = demucs_options() | {"model": "hdemucs"}
    path = written(tmp_path / "checkpoint.th", solver(state, training_args=options))
    with pytest.raises(CheckpointError, match="holds Hybrid Demucs"):
        load_subject(f"htdemucs@{path}")


@pytest.fixture
def omegaconf(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """Return what pickles as OmegaConf's nodes do: a parent, metadata, and the content."""
    classes = {}
    for module, names in {
        "omegaconf": [],
        "omegaconf.dictconfig": ["DictConfig"],
        "omegaconf.listconfig": ["ListConfig"],
        "omegaconf.nodes": ["AnyNode"],
        "omegaconf.base": ["ContainerMetadata"],
    }.items():
        fake = types.ModuleType(module)
        monkeypatch.setitem(sys.modules, module, fake)
        for name in names:
            classes[name] = type(name, (), {"__module__": module})
            setattr(fake, name, classes[name])

    def node(value: Any, parent: Any = None) -> Any:
        kind = {dict: "DictConfig", list: "ListConfig"}.get(type(value), "AnyNode")
        made = classes[kind]()
        made._metadata = classes["ContainerMetadata"]()
        made._metadata.ref_type = Any
        if kind != "AnyNode":
            made._metadata.object_type = type(value)
        made._parent = parent
        if kind == "AnyNode":
            made._val = value
        elif kind == "ListConfig":
            made._content = [node(item, made) for item in value]
        else:
            made._content = {key: node(item, made) for key, item in value.items()}
        return made

    return node


def test_the_solver_s_own_configuration_is_read_as_data(
    tmp_path: Path, state: State, omegaconf: Callable[[Any], Any]
) -> None:
    """Demucs pickles an OmegaConf tree; nothing of OmegaConf is imported to read it."""
    options = demucs_options() | {"model_segment": None}
    options["dset"]["segment"] = 0.125  # Demucs takes four times that without a model_segment
    path = written(tmp_path / "checkpoint.th", solver(state, args=omegaconf(options)))
    subject = load_subject(f"htdemucs@{path}")
    expect(subject, state)
    assert subject.warnings == ()


@pytest.mark.parametrize(("nested", "namespace"), [(True, False), (False, True)])
def test_lightning(tmp_path: Path, state: State, nested: bool, namespace: bool) -> None:
    parameters = {"model": ARGUMENTS, "lr": 1e-3} if nested else ARGUMENTS | {"lr": 1e-3}
    content = {
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {
            **{f"net.{name}": tensor for name, tensor in state.items()},
            "loss.window": torch.ones(8),
        },
        "optimizer_states": [{}],
        "hyper_parameters": Namespace(**parameters) if namespace else parameters,
    }
    subject = load_subject(f"htdemucs@{written(tmp_path / 'last.ckpt', content)}")
    expect(subject, state)
    assert subject.warnings == ()
    assert "1 tensors outside of 'net.' were left out" in subject.notes


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("said", [True, False])
def test_one_renamed_tensor_is_named_and_no_prefix(
    tmp_path: Path, state: State, prefix: str, said: bool
) -> None:
    """One odd name of 289 was taken for the prefix, and all others for tensors of nobody."""
    first = "encoder.0.conv.weight"
    named = {prefix + ("renamed." * (name == first)) + name: x for name, x in state.items()}
    content = {"state_dict": named, "config": ARGUMENTS} if said else named
    path = written(tmp_path / "renamed.pt", content)
    with pytest.raises(CheckpointError) as caught:
        load_subject(f"htdemucs@{path}")
    assert "were left out" not in str(caught.value)
    if not prefix:
        assert f"lacks tensor {first!r}" in str(caught.value)
        assert f"renamed.{first}" in str(caught.value)


def test_a_part_of_the_arguments_leaves_the_rest_open(tmp_path: Path, state: State) -> None:
    content = {
        "state_dict": state,
        "config": {"samplerate": 48_000, "sources": ["vocals", "other"]},
    }
    path = written(tmp_path / "part.pt", content)
    with pytest.raises(CheckpointError, match="doesn't say segment, t_heads, and"):
        load_subject(f"htdemucs@{path}")
    expect(load_subject(f"htdemucs@{path}?segment=1/2&t_heads=2"), state)


def test_two_networks_in_one_file_are_asked_about(tmp_path: Path, state: State) -> None:
    both = {
        f"{prefix}.{name}": value for prefix in ("ema", "model") for name, value in state.items()
    }
    with pytest.raises(CheckpointError, match=r"2 networks, under ema\., model\."):
        load_subject(f"htdemucs@{written(tmp_path / 'both.pt', both)}")


# --- other networks -------------------------------------------------------------------------------


def test_other_models_of_demucs_are_told_by_class_and_by_tensors(tmp_path: Path) -> None:
    hybrid = HDemucs(["a", "b"], channels=8, depth=5)
    waveform = Demucs(["a", "b"], channels=8, depth=3)
    for model, what in ((hybrid, "Hybrid Demucs"), (waveform, r"Demucs \(v1 or v2")):
        package = {"klass": type(model), "args": (["a", "b"],), "kwargs": {}}
        contents = package | {"state": model.state_dict()}, model.state_dict()
        for number, content in enumerate(contents):
            path = written(tmp_path / f"{number}.th", content)
            with pytest.raises(CheckpointError, match=f"holds {what}.*parity run") as caught:
                load_subject(f"htdemucs@{path}")
            assert len(str(caught.value)) < 500 + len(str(path))


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("fc1.weight", "bn1.weight", "lstm.weight_ih_l0"), "Open-Unmix"),
        (("band_split.to_features.0.0.gamma", "mask_estimators.0.to_freqs.0.0.weight"), "Roformer"),
        (("first_conv.weight", "encoder_blocks.0.tfc_tdf.blocks.0.shortcut.weight"), "MDX23C"),
        (("encoder.conv1d_U.weight", "separator.network.0.gamma"), "Conv-TasNet"),
    ],
)
def test_networks_of_others_are_told_by_their_tensors(
    tmp_path: Path, names: tuple[str, ...], what: str
) -> None:
    path = written(tmp_path / "net.safetensors", {name: torch.ones(2) for name in names})
    with pytest.raises(CheckpointError, match=what):
        load_subject(f"htdemucs@{path}")


def test_what_nobody_knows_is_told_by_what_it_lacks(tmp_path: Path) -> None:
    path = written(tmp_path / "net.pt", {"layer.weight": torch.ones(2, 2)})
    with pytest.raises(CheckpointError, match=r"lacks tensor 'tencoder.* not those of an HTDemucs"):
        load_subject(f"htdemucs@{path}")
    odd = {"tencoder.0.conv.weight": torch.ones(()), "encoder.0.conv.weight": torch.ones(2, 2)}
    odd |= {"crosstransformer.norm_in.weight": torch.ones(1)}
    with pytest.raises(CheckpointError, match=r"has shape \[\], which is none of an HTDemucs"):
        load_subject(f"htdemucs@{written(tmp_path / 'odd.pt', odd)}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"t_emb": "scaled"}, "t_emb='scaled'; only 'sin' and 'cape'"),
        ({"t_layers": 0}, "it has no cross-transformer"),
        ({"cac": False}, "cac=False predicts masks"),
    ],
)
def test_an_htdemucs_that_can_not_be_taken_apart_says_why(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    """It loads, because nothing is wrong with it; its surgery is what is missing."""
    arguments = BASE | change
    with torch.device("meta"):
        empty = HTDemucs(**arguments)
    state = {name: torch.full(value.shape, 0.01) for name, value in empty.state_dict().items()}
    path = saved(tmp_path / "net.th", arguments, state)
    with pytest.raises(ParityError, match=reason):
        open_separator(f"htdemucs@{path}")
