"""Checkpoints are data. Hostile, damaged and foreign files are refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from demucs.states import load_model
from safetensors.torch import save_file
from subjects_models import TINY

from harness.errors import CheckpointError, ParityError
from harness.subjects import Architecture, SubjectName, UnusualWeightsWarning, load_subject
from harness.subjects.arguments import resolve
from harness.subjects.checkpoints import read_checkpoint
from harness.subjects.weights import model_from_checkpoint

State = dict[str, torch.Tensor]


def demucs_package(state: State, **changes: Any) -> dict[str, Any]:
    """What Demucs' trainer stores, with the NumPy numbers that published files hold."""
    kwargs = {"sources": list(TINY.sources), **TINY.arguments, "t_dropout": 0.02}
    return {
        "klass": HTDemucs,
        "args": (),
        "kwargs": {**kwargs, **changes},
        "state": state,
        "training_args": {"seed": 42, "optim": {"lr": 3e-4}},
        "metrics": {"nsdr": np.float64(9.0), "loss": np.float32(0.1), "seconds": Fraction(39, 5)},
    }


def load(path: Path, **options: str) -> tuple[HTDemucs, tuple[str, ...]]:
    """Return the model of a file named ``tiny@path``, and every warning about it."""
    name = SubjectName(TINY.name, str(path), tuple(sorted(options.items())))
    checkpoint = read_checkpoint(path)
    found = resolve(TINY, checkpoint, name)
    model, oddities, _ = model_from_checkpoint(found.architecture, checkpoint)
    return model, (*found.warnings, *oddities)


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def same_weights(model: HTDemucs, state: State) -> bool:
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def repickled(path: Path, payload: bytes) -> Path:
    """Return a PyTorch file at ``path`` whose pickle is ``payload``."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.infolist():
            data = payload if item.filename.endswith("data.pkl") else source.read(item)
            target.writestr(item.filename, data)
    return path


class Calls:
    """Pickles as a call of ``function(*arguments)``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


# --- what must load -------------------------------------------------------------------------------


def test_demucs_checkpoint_gives_what_demucs_loads(tmp_path: Path, state: State) -> None:
    path = save(tmp_path / "aaaaaaaa.th", demucs_package(state))
    model, oddities = load(path)
    assert oddities == ()
    assert same_weights(model, load_model(path).state_dict())


def test_half_precision_is_widened_exactly(tmp_path: Path, state: State) -> None:
    half = {name: value.half() for name, value in state.items()}
    model, _ = load(save(tmp_path / "half.th", demucs_package(half)))
    assert same_weights(model, {name: value.float() for name, value in half.items()})


SAID = {"segment": "1/2", "samplerate": "44100", "sources": "drums,bass,vocals", "t_heads": "4"}
"""What the shapes of TINY leave open."""


@pytest.mark.parametrize("suffix", [".th", ".safetensors"])
def test_bare_state_dict(tmp_path: Path, state: State, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".th":
        torch.save(state, path)
    else:
        save_file(state, path)
    with pytest.raises(CheckpointError, match=r"doesn't say .*no tensor shows it") as caught:
        load(path)
    words = "--set segment=1/2 --set samplerate=44100 --set sources=drums,bass,vocals"
    assert f"{words} --set t_heads=4" in str(caught.value)
    model, oddities = load(path, **SAID)
    assert same_weights(model, state)
    assert oddities == ()


def hub_metadata(**changes: Any) -> dict[str, str]:
    fraction = {"_type": "fraction", "numerator": 39, "denominator": 78}
    kwargs = {"sources": list(TINY.sources), **TINY.arguments, "segment": fraction, **changes}
    return {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": "[]",
        "kwargs": json.dumps(kwargs),
    }


def test_safetensors_of_the_hub(tmp_path: Path, state: State) -> None:
    path = tmp_path / "aaaaaaaa.safetensors"
    save_file(state, path, metadata=hub_metadata())
    model, _ = load(path)
    assert same_weights(model, state)


def test_checksum_in_the_name_is_verified(tmp_path: Path, state: State) -> None:
    path = save(tmp_path / "weights.th", demucs_package(state))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    good = path.rename(tmp_path / f"aaaaaaaa-{digest[:8]}.th")
    model, _ = load(good)
    assert same_weights(model, state)
    with pytest.raises(CheckpointError, match=f"starts with {digest[:8]}, its name says 00000000"):
        load(good.rename(tmp_path / "aaaaaaaa-00000000.th"))


# --- hostile files --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["alone", "among the metrics"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(
    tmp_path: Path, state: State, place: str
) -> None:
    witness = tmp_path / "witness"
    hostile = Calls(os.system, f"touch {witness}")
    if place == "alone":
        path = repickled(tmp_path / "hostile.th", pickle.dumps(hostile, protocol=2))
    else:
        path = save(tmp_path / "hostile.th", demucs_package(state) | {"metrics": hostile})
    with pytest.raises(CheckpointError, match=r"asks for '(posix|nt)\.system'"):
        load(path)
    assert not witness.exists()


def test_a_pickle_that_constructs_a_model_is_refused(tmp_path: Path) -> None:
    """Even the allowed class may only be named: its constructor is code, too."""
    content = demucs_package({}) | {"state": Calls(HTDemucs, ["a"])}
    path = tmp_path / "constructs.th"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"asks for 'demucs\.htdemucs\.HTDemucs'"):
        load(path)


@pytest.mark.parametrize("number", ["1e999999999", "1" * 5000, "0.5", "1/0"])
def test_a_fraction_that_takes_forever_is_refused(
    tmp_path: Path, state: State, number: str
) -> None:
    content = demucs_package(state) | {"metrics": Calls(Fraction, number)}
    if number == "1/0":
        content["metrics"] = Calls(Fraction, 1, 0)
        path = repickled(tmp_path / "bomb.th", b"cfractions\nFraction\n(S'1/0'\ntR.")
    else:
        payload = f"cfractions\nFraction\n(V{number}\ntR.".encode()
        path = repickled(tmp_path / "bomb.th", payload)
    with pytest.raises(CheckpointError, match="can't be read as data"):
        load(path)


def test_another_class_is_refused(tmp_path: Path, state: State) -> None:
    path = save(tmp_path / "other.th", demucs_package(state) | {"klass": HDemucs})
    with pytest.raises(CheckpointError, match=r"holds Hybrid Demucs \(v3.*only HTDemucs"):
        load(path)
    path = save(tmp_path / "unknown.th", demucs_package(state) | {"klass": np.ndarray})
    with pytest.raises(CheckpointError, match=r"asks for 'numpy\.ndarray'"):
        load(path)


def test_a_class_in_metadata_is_a_string_and_never_imported(tmp_path: Path, state: State) -> None:
    path = tmp_path / "hostile.safetensors"
    save_file(state, path, metadata=hub_metadata() | {"klass": "antigravity.Fly"})
    with pytest.raises(CheckpointError, match=r"holds a antigravity\.Fly, expected demucs"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"args": "5"}, "args that are no list but 5"),
        ({"args": "null"}, "args that are no list but None"),
        ({"kwargs": "[1, 2]"}, r"kwargs that are no dict but \[1, 2\]"),
        ({"args": "[" * 100_000}, "unreadable args .it is nested"),
        ({"kwargs": '{"a": {"_type": "fraction"}}'}, "unreadable kwargs .'numerator'"),
    ],
)
def test_metadata_that_demucs_does_not_write(
    tmp_path: Path, state: State, changes: dict[str, str], reason: str
) -> None:
    path = tmp_path / "hostile.safetensors"
    save_file(state, path, metadata=hub_metadata() | changes)
    with pytest.raises(CheckpointError, match=reason):
        load(path)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda tensor: tensor.to("meta"), "without values"),
        (lambda tensor: tensor.to_sparse(), "as torch.float32, torch.sparse_coo"),
        (
            lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
            "as torch.qint8, torch.strided",
        ),
    ],
)
def test_tensors_that_hold_no_plain_values(
    tmp_path: Path, state: State, change: Any, how: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's quantisation is about to go
        path = save(tmp_path / "odd.th", state | {NAME: change(state[NAME])})
        with pytest.raises(CheckpointError, match=f"tensor '{NAME}' {how}; expected plain values"):
            load(path)


def test_arguments_that_refer_to_each_other_are_shown_in_short(
    tmp_path: Path, state: State
) -> None:
    """Written out, these lists have 2^60 elements; 10^400 is no float."""
    lists: list[Any] = []
    for _ in range(60):
        lists = [lists, lists]
    for key, value in (("channels", lists), ("segment", lists), ("segment", 10**400)):
        path = save(tmp_path / "other.th", demucs_package(state, **{key: value}))
        with pytest.raises(CheckpointError, match=f"{key} is .*, expected"):
            load(path)


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.th"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10_000_000)
    with pytest.raises(CheckpointError, match=r"10000000 bytes .* in a file of"):
        load(path)


def test_a_tensor_larger_than_its_file_is_refused(tmp_path: Path, state: State) -> None:
    name = "encoder.0.conv.weight"
    huge = torch.zeros(1).expand(10**6, 10**6)
    path = save(tmp_path / "expanded.th", demucs_package(state | {name: huge}))
    with pytest.raises(CheckpointError, match=f"tensor '{name}'.*has shape"):
        load(path)
    path = save(tmp_path / "bare.th", state | {name: huge})
    with pytest.raises(ParityError, match=r"it has .* parameters"):
        load(path, **SAID)


# --- damaged files --------------------------------------------------------------------------------


def test_pickles_without_a_zip_are_refused(tmp_path: Path, state: State) -> None:
    path = tmp_path / "legacy.th"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"no file that torch\.save wrote"):
        load(path)


def test_quantised_checkpoints_are_refused(tmp_path: Path, state: State) -> None:
    quantised: Any = state | {"__quantized": True}
    path = save(tmp_path / "quantised.th", demucs_package(quantised))
    with pytest.raises(CheckpointError, match="quantised"):
        load(path)
    path = tmp_path / "quantised.safetensors"
    save_file(state, path, metadata=hub_metadata() | {"structure": "{}"})
    with pytest.raises(CheckpointError, match="quantised"):
        load(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "holds a list"),
        ({"state": {"a": 1}}, "holds no weights, but 'a'; save"),
        (
            {"state": {}, "klass": HTDemucs, "args": 5, "kwargs": {}},
            "has no readable constructor arguments",
        ),
        ({"a": 1}, "holds no weights, but 'a'; save"),
        ({"state": 3, "klass": None, "args": (), "kwargs": {}}, "holds no state dict"),
    ],
)
def test_other_contents_are_refused(tmp_path: Path, content: Any, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        load(save(tmp_path / "other.th", content))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(tmp_path / "nothing.th")
    with pytest.raises(CheckpointError, match=r"convert it to \.safetensors"):
        read_checkpoint(tmp_path / "model.onnx")


# --- other networks, other values -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "tensor"),
    [
        ("sources", ["vocals", "other"], "decoder.3.conv_tr.weight"),
        ("channels", 16, "encoder.0.conv.weight"),
        ("bottom_channels", 0, "channel_downsampler.bias"),
        ("nfft", 2048, "freq_emb.embedding.weight"),
    ],
)
def test_arguments_that_its_tensors_contradict_are_refused(
    tmp_path: Path, state: State, key: str, value: Any, tensor: str
) -> None:
    path = save(tmp_path / "other.th", demucs_package(state, **{key: value}))
    with pytest.raises(CheckpointError, match=re.escape(repr(tensor))):
        load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("depth", 10**9),
        ("t_layers", 10**6),
        ("channels", 2**40),
        ("growth", float("nan")),
        ("segment", float("inf")),
        ("segment", -1),
        ("samplerate", 0),
        ("channels", "48"),
        ("t_emb", 7),
        ("freq_emb", [0.2]),
        ("kernel_size", None),
        ("multi_freqs", [0.1] * 65),
        ("sources", []),
        ("sources", "vocals"),
        ("sources", ["a", "a", "b"]),
        ("sources", ["a", 3, "b"]),
        ("nfft", 4098),
        ("stride", 0),
        ("t_heads", 5),
    ],
)
def test_arguments_that_no_network_has_are_refused(
    tmp_path: Path, state: State, key: str, value: Any
) -> None:
    """Before anything of that size is built: a depth of a billion stages takes days."""
    path = save(tmp_path / "absurd.th", demucs_package(state, **{key: value}))
    with pytest.raises(ParityError) as caught:
        load_subject(f"htdemucs@{path}")
    assert len(str(caught.value)) < 500 + len(str(path))


def test_unknown_arguments_are_reported(tmp_path: Path, state: State) -> None:
    path = save(tmp_path / "newer.th", demucs_package(state, num_subbands=1))
    (oddity,) = load(path)[1]
    assert "'num_subbands'" in oddity


def test_unusable_arguments_are_refused(tmp_path: Path, state: State) -> None:
    package = demucs_package(state) | {"args": (["a"],)}
    with pytest.raises(CheckpointError, match="multiple values for argument 'sources'"):
        load(save(tmp_path / "twice.th", package))


NAME = "crosstransformer.layers.1.linear2.weight"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensor: tensor[1:], rf"tensor '{NAME}'.*shape \[31, 128\], expected \[32, 128\]"),
        (lambda tensor: tensor.to(torch.int64), rf"tensor '{NAME}'.*torch.int64"),
        (lambda tensor: tensor.to(torch.complex64), rf"tensor '{NAME}'.*torch.complex64"),
        (lambda tensor: tensor.index_fill(0, torch.tensor(3), torch.nan), f"'{NAME}'.*128 values"),
        (lambda tensor: -tensor / 0, f"tensor '{NAME}'.*4096 values that are NaN or inf"),
    ],
)
def test_unusable_tensors_are_refused_by_name(
    tmp_path: Path, state: State, change: Any, reason: str
) -> None:
    path = save(tmp_path / "bad.th", demucs_package(state | {NAME: change(state[NAME])}))
    with pytest.raises(CheckpointError, match=reason):
        load(path)


def test_missing_and_unexpected_tensors_are_refused_by_name(tmp_path: Path, state: State) -> None:
    lacking = {name: value for name, value in state.items() if name != NAME}
    with pytest.raises(CheckpointError, match=f"lacks tensor '{NAME}'"):
        load(save(tmp_path / "lacking.th", lacking), **SAID)
    with pytest.raises(CheckpointError, match="has the unexpected tensor 'a' and 1 more"):
        load(save(tmp_path / "more.th", state | {"b": torch.ones(1), "a": torch.ones(1)}), **SAID)


def test_odd_values_are_reported_and_loaded(
    tmp_path: Path, tiny: Architecture, state: State
) -> None:
    flipped = state[NAME].clone()
    flipped[0, 0] = 4e4
    odd = state | {NAME: flipped, "encoder.1.conv.weight": torch.zeros(16, 8, 8, 1)}
    path = save(tmp_path / "odd.th", demucs_package(odd))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        subject = load_subject(f"tiny@{path}")
    assert same_weights(subject.model, odd)
    assert "'encoder.1.conv.weight'" in subject.warnings[0]
    assert "all zeros" in subject.warnings[0]
    assert f"'{NAME}'" in subject.warnings[1]
    assert "4e+04" in subject.warnings[1]
    assert [str(warning.message) for warning in caught] == list(subject.warnings)
    assert {warning.category for warning in caught} == {UnusualWeightsWarning}
