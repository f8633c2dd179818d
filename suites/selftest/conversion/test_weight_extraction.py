"""Tensors out of packages: those of the checkpoint, bit for bit, and from compiled models alike."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from demucs.htdemucs import HTDemucs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file, save_file

from harness import mil
from harness.cli import main
from harness.conversion import ConvertedPackage, load_recipe
from harness.subjects import describe_subject, load_subject
from harness.weights import WeightsError, extract, extraction
from harness.weights.undoing import undo
from suites.selftest.conversion.conftest import Converter
from suites.selftest.mil.printing import write_compiled


@pytest.fixture
def tiny(network: HTDemucs, monkeypatch: pytest.MonkeyPatch) -> str:
    """The narrow network as if it were a subject: names and shapes, and values of nobody."""
    like = load_subject("mini").network
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = HTDemucs(*network._init_args_kwargs[0], **network._init_args_kwargs[1]).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
    monkeypatch.setattr(extraction, "model_like", lambda subject: (like, model))
    return "tiny"


def bits(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().numpy()
    return array.view(np.uint16 if array.itemsize == 2 else np.uint32)


def test_fp32_tensors_are_the_checkpoint_s_bit_for_bit(
    fp32: ConvertedPackage, network: HTDemucs, tiny: str
) -> None:
    found = extract(fp32.path, tiny)
    state = network.state_dict()
    assert set(state) - set(found.tensors) == {"freq_emb.embedding.weight"}
    assert list(found.tensors) == [name for name in state if name in found.tensors]
    for name, tensor in found.tensors.items():
        assert tensor.shape == state[name].shape, name
        assert np.array_equal(bits(tensor), bits(state[name])), name
    (note,) = (note for note in found.notes if "left out" in note)
    assert "freq_emb.embedding.weight, which the program holds times 10 and 0.2" in note
    assert len(note) < 500


def test_fp16_tensors_are_those_that_are_stored(
    convert: Converter, network: HTDemucs, tiny: str
) -> None:
    found = extract(convert(load_recipe("fp16")).path, tiny).tensors
    tensor = found["encoder.0.conv.weight"]
    assert tensor.dtype == torch.float16
    assert torch.equal(tensor, network.state_dict()["encoder.0.conv.weight"].half())


@pytest.mark.parametrize("recipe", ["fp32", "fp16"])
def test_a_compiled_model_has_the_same_constants(
    convert: Converter, recipe: str, tmp_path: Path
) -> None:
    package = convert(load_recipe(recipe)).path
    compiled = write_compiled(package, tmp_path / "x.mlmodelc")
    ours, theirs = extract(package).tensors, extract(compiled).tensors
    assert list(ours) == list(theirs)
    assert len(ours) > 100
    for name, tensor in ours.items():
        assert np.array_equal(bits(tensor), bits(theirs[name])), name
    names = set(mil.load(package).package.program.function("main").block.constants)
    assert len(names & set(ours)) > 100


def test_the_command_writes_what_is_asked_for(
    fp32: ConvertedPackage,
    network: HTDemucs,
    tiny: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "x.safetensors"
    words = ["weights", "extract", str(fp32.path), "--out", str(out)]
    assert main([*words, "--subject", tiny, "--to", "metal", "--only", "time_*.conv.weight"]) == 0
    found = load_file(out)
    assert set(found) == {f"time_encoder.{level}.conv.weight" for level in range(len(found))}
    assert torch.equal(
        found["time_encoder.0.conv.weight"], network.state_dict()["tencoder.0.conv.weight"]
    )
    assert main([*words, "--only", "nothing"]) == 2
    assert main([*words, "--only", "*conv*", "--only", "*cnov*"]) == 2  # was dropped beside it
    assert main([*words, "--to", "metal"]) == 0  # the program's own names are of neither convention
    assert "names = 'metal' matched nothing" in " ".join(capsys.readouterr().out.split())


def test_the_last_line_says_what_is_missing_and_one_line_what_was_put_back(
    fp32: ConvertedPackage,
    network: HTDemucs,
    tiny: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The one tensor that was left out stood in line 65 of 80, above a number without it."""
    words = ["weights", "extract", str(fp32.path), "--out", str(tmp_path / "x.safetensors")]
    assert main([*words, "--subject", tiny]) == 0
    lines = capsys.readouterr().out.splitlines()
    count = len(network.state_dict()) - 1
    assert f"{count} tensors of" in lines[-1]
    assert lines[-1].endswith("; 1 left out: freq_emb.embedding.weight")
    put_back = [line for line in lines if "put back" in line]
    assert len(put_back) == 1
    assert re.search(r"zeros: \d+, \S+", put_back[0])
    assert main([*words, "--subject", tiny, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == ["freq_emb.embedding.weight"]


def test_a_package_without_modules_or_of_another_network_is_refused(
    fp32: ConvertedPackage, tmp_path: Path
) -> None:
    stripped = write_compiled(fp32.path, tmp_path / "x.mlmodelc")
    about = stripped / "metadata.json"
    (entry,) = json.loads(about.read_text())
    del entry["userDefinedMetadata"]
    about.write_text(json.dumps([entry]))
    with pytest.raises(WeightsError, match="doesn't record the PyTorch modules"):
        extract(stripped, "mini")
    with pytest.raises(WeightsError, match=r"has \d+ numbers, and the package holds \d+"):
        extract(fp32.path, "mini")


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (4, r"has no constants for crosstransformer\.layers(_t)?\.[23]\."),
        (1, r"holds a (weight|bias) of crosstransformer\.layers(_t)?\.1"),
    ],
)
def test_a_package_of_more_or_fewer_layers_is_refused(
    layers: int,
    told: str,
    fp32: ConvertedPackage,
    network: HTDemucs,
    tiny: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A scale of ones may be put back; a matrix of ones is no weight of anybody's."""
    like, _ = extraction.model_like(tiny)
    options = network._init_args_kwargs[1]
    assert options["t_layers"] == 2
    other = HTDemucs(*network._init_args_kwargs[0], **options | {"t_layers": layers}).eval()
    monkeypatch.setattr(extraction, "model_like", lambda subject: (like, other))
    with pytest.raises(WeightsError, match=told) as caught:
        extract(fp32.path, tiny)
    assert len(str(caught.value)) < 500


def test_a_network_that_folds_its_constants_is_refused(
    fp32: ConvertedPackage, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What folded a norm into a convolution would come out under the checkpoint's name."""
    network, _ = extraction.model_like(tiny)
    monkeypatch.setattr(type(network), "knows_constants", False)
    with pytest.raises(WeightsError, match="doesn't know its constants"):
        extract(fp32.path, tiny)


FACTORS = (10.0, 0.2)  # of Demucs' frequency embedding


def multiplied(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values * np.float32(FACTORS[0]) * np.float32(FACTORS[1])


@settings(deadline=None, derandomize=True, max_examples=200)
@given(arrays(np.float32, 20, elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_what_was_multiplied_is_undone_exactly_or_not_at_all(values: np.ndarray) -> None:
    undone = undo(multiplied(values), FACTORS)
    if isinstance(undone, str):
        assert "of its 20 numbers" in undone
    else:
        assert np.array_equal(undone, values)


def test_every_number_of_a_published_checkpoint_is_undone() -> None:
    """They are stored in FP16, of which there are few enough to try all."""
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = halves[np.isfinite(halves)].astype(np.float32)
    undone = undo(multiplied(values), FACTORS)
    assert not isinstance(undone, str), undone
    assert np.array_equal(undone.view(np.uint32), values.view(np.uint32))


def test_numbers_of_several_origins_and_of_none_are_counted() -> None:
    one = np.float32(1.7)
    around = np.nextafter(one, np.float32(9)), np.nextafter(one, np.float32(0)), one
    products = {float(multiplied(value)) for value in around}
    assert len(products) < len(around), "two of three neighbours have one product"
    told = undo(np.array([multiplied(value) for value in around]), FACTORS)
    assert isinstance(told, str)
    assert "2 have several origins and 0 have none" in told
    lost = undo(np.array([np.inf], np.float32), FACTORS)
    assert isinstance(lost, str)


EMBEDDING = "freq_emb.embedding.weight"


@pytest.mark.parametrize(
    ("subject", "rounded", "lost"),
    [
        pytest.param("mini", False, set(), marks=pytest.mark.exhaustive),
        *(
            pytest.param(subject, rounded, lost, marks=pytest.mark.exhaustive)
            for subject in ("htdemucs@seeded", "htdemucs_6s@seeded")
            for rounded, lost in ((True, set()), (False, {EMBEDDING}))
        ),
    ],
)
def test_whole_networks_come_back_bit_for_bit(
    subject: str, rounded: bool, lost: set[str], tmp_path: Path
) -> None:
    """Rounded to FP16, as published checkpoints are, every tensor does."""
    if rounded:
        state = load_subject(subject).model.state_dict()
        save_file({n: t.half() for n, t in state.items()}, tmp_path / "weights.safetensors")
        # Of a checkpoint without a description, no tensor shows these.
        sources = ",".join(describe_subject(subject).sources)
        options = f"segment=39/5&samplerate=44100&t_heads=8&sources={sources}"
        subject = f"{subject.partition('@')[0]}@{tmp_path / 'weights.safetensors'}?{options}"
    package = tmp_path / "x.mlpackage"
    assert main(["convert", subject, "--precision", "fp32", "--out", str(package)]) == 0
    found = extract(package, subject)
    state = load_subject(subject).model.state_dict()
    assert set(state) - set(found.tensors) == lost
    assert [name for name in lost if not any(name in note for note in found.notes)] == []
    for name, tensor in found.tensors.items():
        assert tensor.shape == state[name].shape, name
        assert np.array_equal(bits(tensor), bits(state[name])), name
