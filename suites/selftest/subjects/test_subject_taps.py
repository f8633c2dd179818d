"""Observing a model gives its own values, and leaves nothing behind."""

from __future__ import annotations

import pytest
import torch
from demucs.htdemucs import HTDemucs

from harness.errors import ParityError, UnknownNameError
from harness.subjects import (
    extract_inner_model,
    run_extracted,
    run_original,
    tap_module_path,
    tap_names,
)


def traces_of_observation(model: HTDemucs) -> list[str]:
    hooked = [
        name
        for name, module in model.named_modules()
        if module._forward_hooks or module._forward_pre_hooks
    ]
    return hooked + [name for name in ("_magnitude", "_mask", "_ispec") if name in vars(model)]


def test_spectrogram_is_the_stft_that_demucs_documents(model: HTDemucs, mix: torch.Tensor) -> None:
    """Independent of Demucs' code: torch.stft of the reflected audio, frames 2 to 2 + 22."""
    frames = 22
    padding = (1536, 1536 + frames * 1024 - mix.shape[-1])
    padded = torch.nn.functional.pad(mix, padding, mode="reflect")[0]
    window = torch.hann_window(4096)
    stft = torch.stft(
        padded, 4096, 1024, window=window, normalized=True, center=True, return_complex=True
    )[:, :-1, 2 : 2 + frames]
    expected = torch.stack([stft[0].real, stft[0].imag, stft[1].real, stft[1].imag])[None]
    torch.testing.assert_close(run_original(model, mix).spectrogram, expected, rtol=1e-5, atol=1e-6)


def test_stems_of_an_observed_run_are_those_of_an_unobserved_one(
    model: HTDemucs, mix: torch.Tensor
) -> None:
    with torch.no_grad():
        expected = model(mix)
    outputs = run_original(model, mix)
    assert torch.equal(outputs.stems, expected)
    assert outputs.taps == {}
    assert torch.equal(outputs.spectrogram, model._magnitude(model._spec(mix)))


def test_taps_are_the_outputs_of_the_modules_they_are_named_after(
    model: HTDemucs, mix: torch.Tensor
) -> None:
    seen = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: seen.update(
                {name: output[0] if isinstance(output, tuple) else output}
            )
        )
        for name in ("tencoder.2", "crosstransformer.layers_t.3", "decoder.1")
    ]
    with torch.no_grad():
        model(mix)
    for handle in handles:
        handle.remove()
    taps = run_original(model, mix, taps=seen).taps
    assert taps.keys() == seen.keys()
    for name, expected in seen.items():
        assert torch.equal(taps[name], expected)


def test_normalised_inputs_have_mean_zero_and_unbiased_deviation_one(
    model: HTDemucs, mix: torch.Tensor
) -> None:
    taps = run_original(model, mix, taps=["norm.freq", "norm.time"]).taps
    for tap in taps.values():
        wide = tap.double()
        assert abs(float(wide.mean())) < 1e-6
        assert abs(float(wide.std(correction=1)) - 1) < 1e-3


def test_frequency_embedding_is_part_of_its_tap(model: HTDemucs, mix: torch.Tensor) -> None:
    taps = run_original(model, mix, taps=["encoder.0", "freq_emb"]).taps
    added = (taps["freq_emb"] - taps["encoder.0"])[0, :, :, 0]
    expected = model.freq_emb_scale * model.freq_emb.weight.t()
    torch.testing.assert_close(added, expected, rtol=1e-4, atol=1e-5)


def test_names_follow_the_computation(model: HTDemucs) -> None:
    names = tap_names(model)
    assert len(set(names)) == len(names)
    assert names[:5] == ("norm.freq", "norm.time", "tencoder.0", "encoder.0", "freq_emb")
    assert names[-3:] == ("tdecoder.3", "freq", "time")
    assert names.index("channel_upsampler_t") < names.index("crosstransformer.norm_in")
    assert tap_module_path("freq") == "denorm_freq"
    assert tap_module_path("decoder.3") == "decoder.3"


def test_taps_come_in_the_order_of_computation_whatever_was_asked(
    model: HTDemucs, mix: torch.Tensor
) -> None:
    asked = ["time", "encoder.1", "norm.freq"]
    assert list(run_original(model, mix, taps=asked).taps) == ["norm.freq", "encoder.1", "time"]


def test_nothing_remains_in_the_model(model: HTDemucs, mix: torch.Tensor) -> None:
    inner = extract_inner_model(model)
    spectrogram = run_original(model, mix, taps=None).spectrogram
    run_extracted(inner, {"spectrogram": spectrogram, "audio": mix}, taps=None)
    assert traces_of_observation(model) == []


def test_nothing_remains_after_a_failure(model: HTDemucs, mix: torch.Tensor) -> None:
    def break_off(*args: object) -> None:
        raise RuntimeError("broken on purpose")

    handle = model.decoder[2].register_forward_pre_hook(break_off)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        run_original(model, mix, taps=None)
    handle.remove()
    assert traces_of_observation(model) == []


def test_a_method_that_somebody_replaced_is_put_back(model: HTDemucs, mix: torch.Tensor) -> None:
    original = model._ispec
    model._ispec = lambda *args: 2 * original(*args)
    mine = model._ispec
    outputs = run_original(model, mix)
    assert model._ispec is mine
    with torch.no_grad():
        assert torch.equal(outputs.stems, model(mix))


def test_unknown_taps_and_wrong_inputs_are_refused(model: HTDemucs, mix: torch.Tensor) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'decoder\.3'"):
        run_original(model, mix, taps=["decodr.3"])
    with pytest.raises(ParityError, match="takes the inputs spectrogram, audio, got audio"):
        run_extracted(extract_inner_model(model), {"audio": mix})
    with pytest.raises(ParityError, match=r"mix has shape \[1, 2, 22049\]"):
        run_original(model, mix[..., :-1])
    with pytest.raises(ParityError, match="training mode"):
        tap_names(model.train())
