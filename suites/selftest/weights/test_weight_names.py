"""Names and transforms: a state dict that was mapped to and fro is the one that it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from harness.cli import main
from harness.subjects import describe_subject, load_subject
from harness.subjects.htdemucs import HTDemucsNetwork
from harness.weights import (
    Step,
    WeightsError,
    apply_steps,
    check_weights,
    convention_of,
    read_steps,
    renamed,
)

SUBJECTS = ("mini", "htdemucs@seeded", "htdemucs_6s@seeded")


def names_of(subject: str) -> list[str]:
    network = describe_subject(subject)
    assert isinstance(network, HTDemucsNetwork)
    return list(network.empty_model().state_dict())


@pytest.mark.parametrize("subject", SUBJECTS)
def test_there_and_back_is_the_identity_on_every_tensor(subject: str) -> None:
    state = {name: torch.tensor(float(place)) for place, name in enumerate(names_of(subject))}
    assert len(state) > 500
    assert convention_of(state) == "demucs"
    metal, _ = apply_steps(state, [Step("names", "metal", {})])
    assert convention_of(metal) == "metal"
    assert len(metal) == len(state)
    assert set(metal) & set(state) == {"freq_emb.embedding.weight"}
    back, _ = apply_steps(metal, [Step("names", "demucs", {})])
    assert list(back) == list(state)
    assert all(back[name] is state[name] for name in state)


@pytest.mark.parametrize(
    ("demucs", "metal"),
    [
        ("tencoder.0.conv.weight", "time_encoder.0.conv.weight"),
        ("encoder.3.dconv.layers.1.6.scale", "freq_encoder.3.dconv.layers.1.6.scale"),
        ("encoder.2.norm1.bias", "freq_encoder.2.norm.bias"),
        ("encoder.2.norm2.bias", "freq_encoder.2.norm2.bias"),
        ("tdecoder.1.norm2.weight", "time_decoder.1.norm.weight"),
        ("tdecoder.1.norm1.weight", "time_decoder.1.norm1.weight"),
        ("decoder.0.conv_tr.weight", "freq_decoder.0.conv_transpose.weight"),
        ("channel_upsampler.weight", "freq_to_transformer.weight"),
        ("channel_downsampler_t.bias", "transformer_to_time.bias"),
        ("crosstransformer.norm_in.weight", "cross_transformer.norm_in.weight"),
        (
            "crosstransformer.layers.0.self_attn.in_proj_weight",
            "cross_transformer.layers.0.self_attn_freq.in_proj_weight",
        ),
        (
            "crosstransformer.layers_t.1.cross_attn.out_proj.bias",
            "cross_transformer.layers.1.cross_attn_time.out_proj.bias",
        ),
        (
            "crosstransformer.layers_t.4.linear2.bias",
            "cross_transformer.layers.4.ffn_time.linear2.bias",
        ),
        ("crosstransformer.layers.4.norm3.bias", "cross_transformer.layers.4.norm3_freq.bias"),
        (
            "crosstransformer.layers.2.norm_out.weight",
            "cross_transformer.layers.2.norm_out.weight_freq",
        ),
        (
            "crosstransformer.layers_t.2.gamma_1.scale",
            "cross_transformer.layers.2.gamma_1.scale_time",
        ),
        ("head.weight", "head.weight"),
    ],
)
def test_names_are_those_that_the_port_publishes(demucs: str, metal: str) -> None:
    assert renamed(demucs, "metal") == metal
    assert renamed(metal, "demucs") == demucs


def test_a_convention_is_told_only_where_names_tell_it() -> None:
    assert convention_of(["encoder.0.weight", "decoder.0.weight"]) is None
    assert convention_of(["tencoder.0.x", "time_encoder.0.x"]) is None
    assert convention_of([]) is None


def test_the_command_gives_back_the_checkpoint_bit_for_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metal, back = tmp_path / "metal.safetensors", tmp_path / "back.safetensors"
    assert main(["weights", "map", "mini", "--to", "metal", "--out", str(metal), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["convention"] == "demucs"
    assert document["kept_names"] == ["freq_emb.embedding.weight"]
    assert len(document["steps"][0]["matched"]) == document["tensors"] - 1
    assert main(["weights", "check", str(metal), "--subject", "mini"]) == 0
    assert main(["weights", "map", str(metal), "--to", "demucs", "--out", str(back)]) == 0
    state, found = load_subject("mini").model.state_dict(), load_file(back)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(found[name].view(torch.int32), tensor.view(torch.int32)), name


def test_steps_of_a_file_are_taken_in_order(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        r"""
[[step]]
strip_prefix = "module."
[[step]]
exclude = ["*.steps"]
[[step]]
rename = '_inner'
to = ''
[[step]]
rename = '^block(\d+)\.'
to = 'blocks.\1.'
[[step]]
rename_prefix = "blocks.1."
to = "last."
[[step]]
transpose = "*.weight"
axes = [1, 0]
[[step]]
dtype = "float16"
only = "last.*"
[[step]]
select = ["last.*", "blocks.*"]
[[step]]
add_prefix = "net."
[[step]]
strip_prefix = "nothing."
"""
    )
    state = {
        "module.block0.weight": torch.arange(6.0).reshape(2, 3),
        "module.block1_inner.weight": torch.ones(2, 1),
        "module.block1.steps": torch.tensor(3),
        "other": torch.zeros(1),
    }
    made, reports = apply_steps(state, read_steps(rules))
    assert list(made) == ["net.blocks.0.weight", "net.last.weight"]
    assert made["net.blocks.0.weight"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert made["net.blocks.0.weight"].dtype == torch.float32
    assert made["net.last.weight"].dtype == torch.float16
    assert [len(report.matched) for report in reports] == [3, 1, 1, 2, 1, 2, 1, 2, 2, 0]
    assert reports[-1].step == "strip_prefix = 'nothing.'"


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.text("ab.1", min_size=1, max_size=6), unique=True, min_size=1, max_size=6))
def test_a_prefix_that_was_added_can_be_stripped(names: list[str]) -> None:
    state = {name: torch.zeros(1) for name in names}
    made, _ = apply_steps(
        state, [Step("add_prefix", "model.", {}), Step("strip_prefix", "model.", {})]
    )
    assert list(made) == names


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[step]]\nrename = 'a'\n", "it takes to"),
        ("[[step]]\nrename = '('\nto = 'b'\n", "can't be"),
        ("[[step]]\nrename = 'a'\nto = '\\3'\n", "can't be"),
        ("[[step]]\ndtype = 'int7'\n", "there are the types float16, bfloat16"),
        ("[[step]]\ndtype = ['float16']\n", "is no text"),
        ("[[step]]\nselect = 3\n", "is no text"),
        ("[[step]]\ntranspose = '*'\naxes = [0, 2]\n", "expected a list of every axis once"),
        ("[[step]]\ntranspose = '*'\naxes = 3\n", "expected a list of every axis once"),
        ("[[step]]\ntranspose = '*'\naxes = [1.0, 0]\n", "expected a list of every axis once"),
        ("[[step]]\nselect = ''\n", "an empty text fits nothing"),
        ("[[step]]\nnames = 'jax'\n", "there are the conventions"),
        ("[[step]]\nselect = 'a'\nexclude = 'b'\n", "has 2 verbs"),
        ("[[step]]\n", "has 0 verbs"),
        ("steps = 1\n", "must hold"),
        ("[[step]\n", "is no TOML"),
    ],
)
def test_a_rule_that_can_not_be_is_refused(tmp_path: Path, text: str, words: str) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(text)
    with pytest.raises(WeightsError, match=words) as caught:
        read_steps(rules)
    assert len(str(caught.value)) < 500


def test_two_tensors_of_one_name_and_wrong_axes_are_refused() -> None:
    state = {"a.x": torch.zeros(2), "x": torch.ones(2)}
    with pytest.raises(WeightsError, match=r"'a\.x' and 'x' would both become 'x'"):
        apply_steps(state, [Step("strip_prefix", "a.", {})])
    with pytest.raises(WeightsError, match="and 2 axes are named"):
        apply_steps(state, [Step("transpose", "x", {"axes": [1, 0]})])


def test_a_scalar_is_its_own_transpose() -> None:
    """Norms that count their batches keep one among the tensors that "*" names."""
    state = {"w": torch.ones(2, 3), "count": torch.tensor(4)}
    made, _ = apply_steps(state, [Step("transpose", "*", {})])
    assert {name: list(tensor.shape) for name, tensor in made.items()} == {"w": [3, 2], "count": []}


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_nan_is_found_in_every_type_that_has_one(dtype: torch.dtype) -> None:
    state = {"w": torch.tensor([1.0, float("nan"), 2.0]).to(dtype)}
    assert [row.what for row in check_weights(state)] == ["1 of 3 values are NaN"]


def test_weights_that_can_not_be_right_are_errors() -> None:
    state = {
        "nan": torch.tensor([1.0, float("nan")]),
        "inf": torch.tensor([float("-inf"), 1.0]),
        "large": torch.tensor([2e6]),
        "zeros": torch.zeros(2, 2),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "double": torch.ones(3, dtype=torch.float64),
        "mask": torch.ones(3, dtype=torch.bool),
        "empty": torch.zeros(0),
    }
    found = {row.tensor: row for row in check_weights(state)}
    assert {name for name, row in found.items() if row.level == "error"} == {"nan", "inf"}
    assert found["nan"].what == "1 of 2 values are NaN"
    assert "above 1000" in found["large"].what
    assert found["zeros"].what == "it is all zeros"
    assert [found[name].what[:3] for name in ("half", "double", "mask")] == ["BF1", "F64", "BOO"]
    shapes = {"large": (1,), "zeros": (2, 3), "gone": (1,)}
    named = {"large": state["large"], "zeros": state["zeros"], "more": torch.ones(1)}
    complaints = check_weights(named, shapes)
    errors = {row.tensor: row.what for row in complaints if row.level == "error"}
    assert errors == {
        "zeros": "it has shape [2, 2], expected [2, 3]",
        "gone": "it is missing",
        "more": "the network has no such tensor",
    }


def test_a_tensor_of_both_conventions_can_not_hide_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a renaming leaves two tensors of one meaning, and either may be broken."""
    state, _ = apply_steps(load_subject("mini").model.state_dict(), [Step("names", "metal", {})])
    file = tmp_path / "x.safetensors"
    save_file({"encoder.0.conv.weight": torch.tensor([float("nan")]), **state}, file)
    assert main(["weights", "check", str(file), "--subject", "mini"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "'encoder.0.conv.weight' and 'freq_encoder.0.conv.weight' would both become" in told


def test_a_checkpoint_of_another_network_or_with_nan_ends_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"a.weight": torch.tensor([1.0, float("nan")]).bfloat16()}, file)
    assert main(["weights", "check", str(file), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [row["level"] for row in document["complaints"]] == ["error", "warning"]
    save_file({"a.weight": torch.ones(2)}, file)
    assert main(["weights", "check", str(file)]) == 0
    assert main(["weights", "check", str(file), "--subject", "mini"]) == 1
    out = str(tmp_path / "y.safetensors")
    assert main(["weights", "map", str(file), "--out", out]) == 2
    assert main(["weights", "map", str(file), "--to", "jax", "--out", out]) == 2
    assert main(["weights", "map", str(file), "--to", "metal", "--out", out + ".npz"]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.safetensors"]
