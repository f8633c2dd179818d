"""If these fail, an adapter changes numbers, or takes one thing for another."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.adapters import Adapter, Port, Sizes, guess_adapter, read_adapter, write_adapter
from harness.adapters.candidates import input_ports, output_ports
from harness.adapters.layout import OUTPUTS, PLAIN, arranged, cropped, extended, restored
from harness.audio.contract import Geometry
from harness.audio.stft import (
    spectrogram_from_waveform,
    stft,
    waveform_from_spectrogram,
    whole_stft,
)
from harness.errors import ContractError, ParityError

SIZES = Sizes(("a", "b", "c"), Geometry(1000, 2, 16, 44))
GEOMETRY = SIZES.geometry


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator)


@st.composite
def axes_of(draw: st.DrawFn, plain: str) -> str:
    """Draw an order of axes, some of them folded into one dimension, ones between them."""
    order = draw(st.permutations(plain))
    groups: list[str] = []
    for axis in order:
        if groups and axis in "scz" and groups[-1][-1] in "scz" and draw(st.booleans()):
            groups[-1] += axis
        else:
            groups.append(axis)
    words = [g if len(g) == 1 else f"({' '.join(g)})" for g in groups]
    for place in draw(st.sets(st.integers(0, len(words)), max_size=2)):
        words.insert(place, "1")
    return " ".join(words)


@st.composite
def ports(draw: st.DrawFn, tensors: tuple[str, ...] = ("spectrogram", "audio", *OUTPUTS)) -> Port:
    tensor = draw(st.sampled_from(tensors))
    spectral = "f" in PLAIN[tensor]
    parts = draw(st.sampled_from(("real imag", "imag real"))) if "z" in PLAIN[tensor] else ""
    kept = st.booleans() if spectral else st.just(False)
    return Port(tensor, draw(axes_of(PLAIN[tensor])), parts, draw(kept), draw(kept))


@settings(max_examples=80, deadline=None)
@given(port=ports())
def test_both_directions_of_a_layout_are_inverse(port: Port) -> None:
    plain = noise(*SIZES.lengths(port).values())
    there = arranged(plain, port)
    assert tuple(there.shape) == SIZES.shape(port)
    assert torch.equal(restored(there, port, SIZES), plain)
    assert sorted(there.flatten().tolist()) == sorted(plain.flatten().tolist()), (
        "moved, not changed"
    )


@settings(max_examples=30, deadline=None)
@given(port=ports(("spectrogram", "freq")))
def test_what_surrounds_a_spectrum_is_taken_off_again(port: Port) -> None:
    shape = tuple(SIZES.lengths(replace(port, nyquist=False, edges=False)).values())
    spectrum, around = (
        noise(*shape),
        noise(*shape[:-2], GEOMETRY.frequency_bins + 1, GEOMETRY.frames + 4),
    )
    for full in (None, around):
        whole = extended(spectrum, port, full)
        assert tuple(whole.shape) == tuple(SIZES.lengths(port).values())
        assert torch.equal(cropped(whole, port), spectrum)
    if port.nyquist:
        assert not extended(spectrum, port)[..., -1, :].any(), "zero, as Demucs has it"


def test_the_whole_spectrogram_holds_what_demucs_cuts_out_of_it() -> None:
    """Oracle: the network's own input."""
    audio = noise(2, 5000) * 0.1
    whole = whole_stft(audio, 512)
    torch.testing.assert_close(whole[..., :-1, 2:-2], stft(audio, 512), rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(port=ports(), path=st.just(None))
def test_an_adapter_in_a_file_is_the_same(port: Port, path: None) -> None:
    import tempfile

    sides = {"x": port}, {"y.0": Port("time", "1 s c n"), "ü": Port("freq", "s z f t", "imag real")}
    if port.tensor in OUTPUTS:
        sides = {"in": Port("audio", "c n")}, {"out": port}
    adapter = Adapter(*sides)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "x.adapter.toml")
        write_adapter(file, adapter)
        assert read_adapter(file) == adapter


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("format = 2", "expected format = 1"),
        ("format = 1", "names no input"),
        ("format = 1\nx = 1", "has the key 'x'"),
        ("format = 1\n[inputs.x]\naxes = 'c n'", "inputs.x has no 'tensor'"),
        ("format = 1\n[inputs.x]\ntensor = 'audio'\naxes = 'c n'\nedges = 1", "true or false"),
        ("format = 1\n[inputs.x]\ntensor = 'audio'\naxes = 'c f'", "audio has no axis 'f'"),
        ("format = 1\n[inputs.x]\ntensor = 'audio'\naxes = 'c n n'", "expected axes of cn"),
        ("format = 1\n[inputs.x]\ntensor = 'audio'\naxes = '__import__'", "expected axes of cn"),
        ("format = 1\n[inputs.x]\ntensor = 'sound'\naxes = 'c n'", "expected one of spectrogram"),
        ("format = 1\n[inputs.x]\ntensor = 'spectrogram'\naxes = 'c z f t'", "parts '' of"),
        ("format = 1\n[inputs.x]\ntensor = 'time'\naxes = 's c n'", "input 'x' is a time"),
        ("inputs = [", "is no TOML"),
    ],
)
def test_a_file_that_is_no_adapter_is_refused_in_a_sentence(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = tmp_path / "x.adapter.toml"
    file.write_text(text)
    with pytest.raises(ParityError, match=reason) as caught:
        read_adapter(file)
    assert len(str(caught.value)) < 500


# --- what shapes say ------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(port=ports())
def test_a_shape_is_known_for_all_that_it_can_be(port: Port) -> None:
    known = output_ports if port.tensor in OUTPUTS else input_ports
    assert port in known("x", SIZES.shape(port), SIZES)


# --- what numbers say -----------------------------------------------------------------------------


def golden(seed: int = 1) -> dict[str, Tensor]:
    """The contract's tensors of a network that nobody has: noise."""
    audio = noise(*SIZES.geometry.audio_shape, seed=seed) + 0.3
    spectrogram = spectrogram_from_waveform(audio, SIZES.geometry)
    freq = noise(1, 3, 4, GEOMETRY.frequency_bins, GEOMETRY.frames, seed=seed + 1)
    time = noise(1, 3, 2, GEOMETRY.segment_length, seed=seed + 2)
    stems = waveform_from_spectrogram(freq, GEOMETRY.segment_length, SIZES.geometry)[0] + time[0]
    tensors = {"audio": audio, "spectrogram": spectrogram, "freq": freq, "time": time}
    return tensors | {"stems": stems}


GOLDEN = golden()


class Fake:
    """A package that gives what it should for the inputs that it should get, and else noise."""

    def __init__(self, adapter: Adapter, error: float = 0.0) -> None:
        self.adapter, self.error = adapter, error
        self.wanted = adapter.feed(GOLDEN, SIZES)

    def shapes(self) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        made = self.wanted, self.outputs()
        inputs, outputs = ({n: tuple(v.shape) for n, v in side.items()} for side in made)
        return inputs, outputs

    def outputs(self) -> dict[str, Tensor]:
        made = {}
        for name, port in self.adapter.outputs.items():
            value = GOLDEN["stems"] if port.tensor == "stems" else GOLDEN[port.tensor][0]
            value = value.unflatten(-3, (-1, 2)) if "z" in PLAIN[port.tensor] else value
            if port.normalised:
                of = GOLDEN["spectrogram" if "f" in port.plain else "audio"]
                value = (value - of.mean()) / of.std()
            value = extended(value, port) if "f" in port.plain else value
            made[name] = arranged(value, port)
            made[name] = made[name] + self.error * noise(*made[name].shape, seed=9)
        return made

    def __call__(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        made = self.outputs()
        if all(torch.equal(given[name], value) for name, value in self.wanted.items()):
            return made
        return {name: noise(*value.shape, seed=5) for name, value in made.items()}


def normalised(port: Port, yes: bool) -> Port:
    return replace(port, normalised=yes and "mask" not in port.tensor)


@settings(max_examples=40, deadline=None)
@given(
    spectrogram=ports(("spectrogram",)),
    audio=ports(("audio",)),
    freq=ports(("freq",)),
    time=ports(("time", "stems")),
    outside=st.booleans(),
)
def test_a_layout_is_found_again(
    spectrogram: Port, audio: Port, freq: Port, time: Port, outside: bool
) -> None:
    """Property: whatever a package's layout is, it is what numbers say."""
    written = Adapter(
        {"x": normalised(spectrogram, outside), "y": normalised(audio, outside)},
        {"u": normalised(freq, outside), "v": normalised(time, outside)},
    )
    fake = Fake(written)
    found = guess_adapter(*fake.shapes(), fake, GOLDEN, SIZES)
    assert found.adapter == written
    assert found.worst_db > 100


def test_halves_and_single_stems_are_put_together() -> None:
    written = Adapter(
        {
            "left": Port("spectrogram", "1 c f t", "real"),
            "right": Port("spectrogram", "1 c f t", "imag"),
        }
        | {"wave": Port("audio", "n c")},
        {f"{stem}": Port("time", "1 n c", stem=stem) for stem in ("c", "a", "b")},
    )
    wanted = written.feed(GOLDEN, SIZES)

    def run(given: dict[str, Tensor]) -> dict[str, Tensor]:
        right = all(torch.equal(given[name], value) for name, value in wanted.items())
        place = {"a": 0, "b": 1, "c": 2}
        time = GOLDEN["time"] if right else noise(*GOLDEN["time"].shape)
        return {stem: time[:, place[stem]].transpose(1, 2) for stem in written.outputs}

    inputs = {name: tuple(value.shape) for name, value in wanted.items()}
    outputs = dict.fromkeys(written.outputs, (1, GEOMETRY.segment_length, 2))
    found = guess_adapter(inputs, outputs, run, GOLDEN, SIZES).adapter
    assert found == written
    shown = found.read(run(wanted), GOLDEN, SIZES)
    assert torch.equal(shown["time"], GOLDEN["time"])


def test_a_package_that_computes_garbage_is_explained_by_no_layout() -> None:
    plain = Adapter(
        {"x": Port("spectrogram", "1 (c z) f t", "real imag"), "y": Port("audio", "1 c n")},
        {"u": Port("freq", "1 s (c z) f t", "real imag"), "v": Port("time", "1 s c n")},
    )
    fake = Fake(plain, error=1.0)
    with pytest.raises(ContractError, match=r"no layout explains .*\(8 were tried\)") as caught:
        guess_adapter(*fake.shapes(), fake, GOLDEN, SIZES)
    assert "dB, expected 20 or more" in str(caught.value)
    assert len(str(caught.value)) < 500
    fake = Fake(plain, error=0.01)
    assert 35 < guess_adapter(*fake.shapes(), fake, GOLDEN, SIZES).worst_db < 45


def test_stems_in_another_order_are_no_layout() -> None:
    """It is the bug that a listener hears first, and an adapter that mends it hides it."""
    plain = Adapter({"y": Port("audio", "1 c n")}, {"v": Port("time", "1 s c n")})
    shapes = Fake(plain).shapes()
    with pytest.raises(ContractError, match="stems in this order: a, b, c"):
        guess_adapter(*shapes, lambda given: {"v": GOLDEN["time"].flip(1)}, GOLDEN, SIZES)


def test_an_input_that_is_not_used_is_asked_about() -> None:
    time = {"v": GOLDEN["time"]}
    inputs = {
        "x": (1, 4, GEOMETRY.frequency_bins, GEOMETRY.frames),
        "y": (1, 2, GEOMETRY.segment_length),
    }
    with pytest.raises(ContractError, match="layouts explain this package equally") as caught:
        guess_adapter(inputs, {"v": (1, 3, 2, 44)}, lambda given: time, GOLDEN, SIZES)
    assert "by hand" in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "outputs", "what"),
    [
        ({"x": (1, 3, 224, 224)}, {"v": (1, 3, 2, 44)}, r"inputs x \[1, 3, 224, 224\]"),
        ({"y": (1, 2, 44)}, {"v": (1, 1000)}, r"outputs v \[1, 1000\]"),
    ],
)
def test_shapes_that_nothing_of_the_network_has_are_refused(
    inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]], what: str
) -> None:
    with pytest.raises(ContractError, match=what) as caught:
        guess_adapter(inputs, outputs, lambda given: {}, GOLDEN, SIZES)
    assert "3 stems, 2 channels, 8 bins" in str(caught.value)


def test_a_mask_shows_what_it_makes_of_the_mixture() -> None:
    """Oracle: complex numbers of NumPy."""
    mask = noise(1, 3, 4, GEOMETRY.frequency_bins, GEOMETRY.frames, seed=3)
    adapter = Adapter(
        {"y": Port("audio", "1 c n")}, {"m": Port("mask", "1 s (c z) f t", "real imag")}
    )
    made = adapter.read({"m": mask}, GOLDEN, SIZES)["freq"].numpy()

    def numbers(channels: np.ndarray) -> np.ndarray:
        return channels[..., 0::2, :, :] + 1j * channels[..., 1::2, :, :]

    expected = numbers(mask.numpy()) * numbers(GOLDEN["spectrogram"].numpy())[:, None]
    np.testing.assert_allclose(numbers(made), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("parts", ["real imag", "imag real"])
@pytest.mark.parametrize("axes", ["1 s (c z) f t", "(z s c) t f"])
def test_masks_are_found_again(axes: str, parts: str) -> None:
    written = Adapter({"y": Port("audio", "1 c n")}, {"m": Port("mask", axes, parts)})
    real, imag = GOLDEN["freq"][0].unflatten(1, (2, 2)).unbind(2)
    a, b = GOLDEN["spectrogram"][0].unflatten(0, (2, 2)).unbind(1)
    ratio = torch.complex(real, imag) / torch.complex(a, b)
    made = {"m": arranged(torch.stack([ratio.real, ratio.imag], dim=2), written.outputs["m"])}
    shapes = {"y": (1, 2, 44)}, {"m": tuple(made["m"].shape)}
    assert guess_adapter(*shapes, lambda given: made, GOLDEN, SIZES, known=written)
    right = written.feed(GOLDEN, SIZES)["y"]

    def run(given: dict[str, Tensor]) -> dict[str, Tensor]:
        return made if torch.equal(given["y"], right) else {"m": noise(*made["m"].shape)}

    assert guess_adapter(*shapes, run, GOLDEN, SIZES).adapter == written


def test_an_output_that_is_two_things_is_asked_about() -> None:
    """A silent frequency branch: stems and time branch are the same numbers."""
    silent = {**GOLDEN, "stems": GOLDEN["time"][0]}
    right = GOLDEN["audio"]

    def run(given: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"v": GOLDEN["time"] if torch.equal(given["y"], right) else GOLDEN["time"].flip(-1)}

    with pytest.raises(ContractError, match=r"equally well .*time branch.*; or .*stems"):
        guess_adapter({"y": (1, 2, 44)}, {"v": (1, 3, 2, 44)}, run, silent, SIZES)


def test_every_order_of_parts_and_channels_differs() -> None:
    """If two candidates were the same, numbers could never choose."""
    shape = SIZES.shape(Port("freq", "1 s (c z) f t", "real imag"))
    plain = noise(3, 2, 2, GEOMETRY.frequency_bins, GEOMETRY.frames)
    candidates = [p for p in output_ports("x", shape, SIZES) if p.tensor == "freq" and not p.stem]
    assert len(candidates) == 4
    values = [arranged(plain, port) for port in candidates]
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(values, 2))
