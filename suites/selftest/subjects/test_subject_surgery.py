"""The extracted network is the original: the same bits at every tap, under the same names."""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from demucs.apply import BagOfModels
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from subjects_models import TINY, music_like

from harness._coremltools import import_coremltools
from harness.errors import ParityError
from harness.subjects import (
    ARCHITECTURES,
    extract_inner_model,
    load_subject,
    make_signal,
    run_extracted,
    run_original,
    tap_module_path,
    tap_names,
)


def build(**changes: Any) -> HTDemucs:
    torch.manual_seed(0)
    return HTDemucs(list(TINY.sources), **{**TINY.arguments, **changes}).eval()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bottom_channels": 0},
        {"depth": 3},
        {"depth": 2, "t_layers": 1},
        {"depth": 5},  # the branches merge and part again
        {"t_cross_first": True, "t_layers": 2},
        {"t_norm_in": False, "t_layers": 2},
        {"t_norm_first": False, "t_layers": 2},
        {"t_group_norm": 1, "t_layers": 2},
        {"t_emb": "cape", "t_weight_pos_embed": 0.5, "t_layers": 2},
        {"freq_emb": 0, "dconv_mode": 1, "t_layers": 2},
        {"multi_freqs": [0.25, 0.5], "t_layers": 2},
        {"rewrite": False, "context_enc": 1, "t_layers": 2},
        {"nfft": 2048, "t_layers": 2},
        {"audio_channels": 1, "t_layers": 2},
        {"segment": 0.3, "use_train_segment": False, "t_layers": 2},
    ],
    ids=lambda changes: ",".join(changes) or "as published",
)
def test_every_tap_has_the_same_bits_as_in_the_original(changes: dict[str, Any]) -> None:
    model = build(**changes)
    samples = int(model.segment * model.samplerate)
    mix = music_like(samples, model.audio_channels)

    original = run_original(model, mix, taps=None)
    inner = extract_inner_model(model)
    taps = run_extracted(inner, {"spectrogram": original.spectrogram, "audio": mix}, taps=None)

    assert list(taps) == list(original.taps) == list(tap_names(model)) == list(tap_names(inner))
    for name, expected in original.taps.items():
        assert torch.equal(taps[name], expected), f"{name} differs after surgery"


def test_inverse_stft_plus_time_is_what_the_original_returns(
    model: HTDemucs, mix: torch.Tensor
) -> None:
    inner = extract_inner_model(model)
    with torch.no_grad():
        spectrogram = model._magnitude(model._spec(mix))
        freq, time = inner(spectrogram, mix)
        stems = time + model._ispec(model._mask(None, freq), mix.shape[-1])
        expected = model(mix)
    assert freq.shape == (1, 3, 4, 2048, 22)
    assert time.shape == expected.shape == (1, 3, 2, 22_050)
    assert torch.equal(stems, expected)


def test_state_dict_has_the_names_and_the_tensors_of_the_original(model: HTDemucs) -> None:
    inner, original = extract_inner_model(model).state_dict(), model.state_dict()
    assert list(inner) == list(original)
    for name, tensor in original.items():
        assert inner[name].data_ptr() == tensor.data_ptr(), f"{name} was copied"


@pytest.mark.parametrize("silent", [True, False])
def test_constant_input_gives_finite_output(model: HTDemucs, silent: bool) -> None:
    """Its standard deviation is zero: only the epsilon stands between it and NaN."""
    mix = torch.full((1, 2, 22_050), 0.0 if silent else 0.25)
    original = run_original(model, mix, taps=None)
    freq, time = extract_inner_model(model)(original.spectrogram, mix)
    assert torch.isfinite(freq).all()
    assert torch.isfinite(time).all()
    assert torch.equal(freq, original.freq)
    assert torch.equal(time, original.time)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cac": False}, "cac=False"),
        ({"t_layers": 0}, "no cross-transformer"),
        ({"t_emb": "scaled"}, "t_emb='scaled'"),
        ({"t_sin_random_shift": 5}, "t_sin_random_shift=5"),
        ({"depth": 6, "channels": 8}, "encoder.5 has no frequency axis"),
    ],
)
def test_what_surgery_cannot_represent_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ParityError, match=reason):
        extract_inner_model(build(**changes))


def test_sparse_attention_is_refused(model: HTDemucs) -> None:
    model.crosstransformer.layers_t[1].sparse = True
    with pytest.raises(ParityError, match=r"crosstransformer\.layers_t\.1 has sparse attention"):
        extract_inner_model(model)


def test_other_models_are_refused(model: HTDemucs) -> None:
    class Louder(HTDemucs):
        def forward(self, mix: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(mix)

    with pytest.raises(ParityError, match="extract each of its members"):
        extract_inner_model(BagOfModels([model]))
    with pytest.raises(ParityError, match=r"no demucs\.htdemucs\.HTDemucs"):
        extract_inner_model(HDemucs(["a"], channels=4))
    with pytest.raises(ParityError, match=r"overrides HTDemucs\.forward"):
        extract_inner_model(Louder(list(TINY.sources), **TINY.arguments).eval())
    with pytest.raises(ParityError, match=r"call model\.eval\(\)"):
        extract_inner_model(model.train())


def test_inputs_of_another_length_are_refused(model: HTDemucs, mix: torch.Tensor) -> None:
    inner = extract_inner_model(model)
    spectrogram = torch.zeros(inner.interface.inputs["spectrogram"])
    with pytest.raises(ParityError, match=r"audio has shape \[1, 2, 100\]"):
        inner(spectrogram, mix[..., :100])
    with pytest.raises(ParityError, match=r"spectrogram has shape \[1, 4, 2048, 21\]"):
        inner(spectrogram[..., :-1], mix)


def test_converted_operations_carry_unambiguous_module_paths() -> None:
    """A recipe by module, and a tap of a package, are found by these paths."""
    ct = import_coremltools()
    from coremltools.converters.mil.mil.scope import ScopeSource

    inner = extract_inner_model(build(depth=2, t_layers=2, dconv_mode=1))
    inputs = tuple(map(torch.zeros, inner.interface.inputs.values()))
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(inner, inputs, check_trace=False)
            program = ct.convert(
                traced,
                inputs=[
                    ct.TensorType(name, shape, np.float32)
                    for name, shape in inner.interface.inputs.items()
                ],
                convert_to="milinternal",
                minimum_deployment_target=ct.target.iOS18,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(True)

    operations = defaultdict(set)
    for operation in program.functions["main"].operations:
        if operation.op_type != "const":
            *modules, _ = operation.scopes[ScopeSource.TORCHSCRIPT_MODULE_NAME]
            operations[".".join(modules)].add(operation.op_type)
    for name in tap_names(inner):
        path = tap_module_path(name)
        assert inner.get_submodule(path) is not None
        assert any(f"{scope}.".startswith(f"{path}.") for scope in operations), name
    parts = {scope.split(".")[0] for scope in operations} - {""}
    known = {name for name, _ in inner.named_children()}
    assert parts == known
    assert "conv" in operations["encoder.0.conv"]
    assert "conv" in operations["tencoder.0.conv"]
    assert "linear" in operations["crosstransformer.layers_t.1.cross_attn"]
    assert "layer_norm" in operations["crosstransformer.layers.0.norm1"]


@pytest.mark.exhaustive
@pytest.mark.slow
def test_six_stem_model_has_the_same_bits_at_every_tap_after_surgery() -> None:
    torch.set_num_threads(2)
    subject = load_subject("htdemucs_6s@seeded")
    mix = torch.from_numpy(make_signal("noise", subject.geometry.segment_length))[None]
    original = run_original(subject.model, mix, taps=None)
    inner = extract_inner_model(subject.model)
    taps = run_extracted(inner, {"spectrogram": original.spectrogram, "audio": mix}, taps=None)

    shape = inner.interface.inputs["spectrogram"]
    assert shape == tuple(original.spectrogram.shape) == (1, 4, 2048, 336)
    assert taps["freq"].shape == (1, 6, 4, 2048, 336)
    assert taps["time"].shape == (1, 6, 2, 343_980)
    differences = {
        name: float((taps[name] - original.taps[name]).abs().max()) for name in original.taps
    }
    assert differences == dict.fromkeys(tap_names(inner), 0.0)
    for name, tap in taps.items():
        assert 0.02 < float(tap.square().mean().sqrt()) < 3, f"{name} is dead or exploding"


@pytest.mark.parametrize(
    ("name", "parameters", "tensors"),
    [("htdemucs", 41_984_456, 533), ("htdemucs_6s", 27_414_996, 525)],
)
def test_architectures_have_the_size_of_the_published_checkpoints(
    name: str, parameters: int, tensors: int
) -> None:
    """The counts are those of 955717e8 and 5c90dfd2, in FP16 files of 84.1 and 55.0 MB."""
    row = ARCHITECTURES[name]
    with torch.device("meta"):
        model = HTDemucs(list(row.sources), **row.arguments)
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == parameters
    assert len(model.state_dict()) == tensors
