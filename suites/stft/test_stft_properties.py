"""What holds for the transform pair on any signal of any length, and what it refuses.

If these fail, the transform is right on the suite's signals by luck.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import get_window

from harness.audio import FREQUENCY_BINS, HOP_LENGTH, N_FFT, SEGMENT_LENGTH
from harness.audio import stft as transform
from harness.audio.stft import (
    frame_count,
    istft,
    spectrogram_from_waveform,
    stft,
    waveform_from_spectrogram,
)
from harness.audio.windows import overlap_sum, relative_ripple
from harness.errors import AudioError
from suites.stft.packed_fft import Packed, forward, inverse
from suites.stft.parseval import onesided_energy
from suites.stft.reference_stft import reference_spectrogram, reference_waveform, reflect_padded

KINDS = st.sampled_from(["silence", "sine", "noise", "chirp", "impulse", "dc"])
LENGTHS = st.integers(2560, 8000)
SEEDS = st.integers(0, 2**16)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


# --- the torch pair ----------------------------------------------------------------------------


@given(samples=st.integers(1, 9000), double=st.booleans(), seed=SEEDS)
@settings(deadline=None, max_examples=25)
def test_any_length_equals_demucs_bit_for_bit(demucs, samples, double, seed):
    """Also where the signal is shorter than its padding, which Demucs fills with zeros."""
    dtype = torch.float64 if double else torch.float32
    waveform = torch.from_numpy(noise(1, 2, samples, seed=seed)).to(dtype)
    z = demucs._spec(waveform)
    assert torch.equal(stft(waveform), z)
    freq = torch.stack([demucs._magnitude(z)] * 2, dim=1) * 1.25
    expected = demucs._ispec(demucs._mask(None, freq), samples)
    assert torch.equal(waveform_from_spectrogram(freq, samples), expected)
    assert torch.equal(istft(demucs._mask(None, freq), samples), expected)


@given(kind=KINDS, samples=LENGTHS, power=st.integers(-30, 30))
@settings(deadline=None, max_examples=20)
def test_scaling_by_powers_of_two_is_exact(signal, kind, samples, power):
    """There is no epsilon, no clipping and no level dependence in either direction."""
    waveform = torch.from_numpy(signal(kind, samples))
    spectrogram = spectrogram_from_waveform(waveform)
    assert torch.equal(spectrogram_from_waveform(waveform * 2.0**power), spectrogram * 2.0**power)
    freq = spectrogram[:, None]
    back = waveform_from_spectrogram(freq, samples)
    assert torch.equal(waveform_from_spectrogram(freq * 2.0**power, samples), back * 2.0**power)


@given(samples=LENGTHS, a=st.floats(-2, 2, width=16), b=st.floats(-2, 2, width=16), seed=SEEDS)
@settings(deadline=None, max_examples=10)
def test_linearity(samples, a, b, seed):
    x, y = torch.from_numpy(noise(2, 2, samples, seed=seed))
    z = a * stft(x) + b * stft(y)
    torch.testing.assert_close(stft(a * x + b * y), z, rtol=1e-10, atol=1e-12)
    back = a * istft(stft(x), samples) + b * istft(stft(y), samples)
    torch.testing.assert_close(istft(z, samples), back, rtol=1e-10, atol=1e-12)


@given(hops=st.integers(1, 5), seed=SEEDS)
@settings(deadline=None, max_examples=8)
def test_a_shift_by_hops_shifts_the_frames(hops, seed):
    samples = 16 * HOP_LENGTH
    waveform = torch.from_numpy(noise(2, samples, seed=seed))
    moved = torch.roll(waveform, hops * HOP_LENGTH, dims=-1)
    inner = slice(hops + 2, 14)  # frames that touch neither an edge nor the seam
    expected = stft(waveform)[..., 2 : 14 - hops]
    torch.testing.assert_close(stft(moved)[..., inner], expected, rtol=1e-10, atol=1e-12)


@given(kind=KINDS, samples=LENGTHS, seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_round_trip_of_any_length(signal, round_trip, agree, kind, samples, seed):
    waveform = signal(kind, samples, "float64", seed)
    window = transform.analysis_window(torch.float64, torch.device("cpu")).numpy()
    z = stft(torch.from_numpy(waveform))
    agree(round_trip(waveform, window), istft(z, samples).numpy(), "stft_float64")


def test_gradients_flow_after_inference_mode():
    """Cached windows made under inference mode would break every later backward pass."""
    transform.analysis_window.cache_clear()
    transform._squares.cache_clear()
    samples = 5000
    x = torch.from_numpy(noise(1, 2, samples))
    with torch.inference_mode():
        istft(stft(x), samples)
    x = x.clone().requires_grad_()
    freq = spectrogram_from_waveform(x)
    back = waveform_from_spectrogram(freq[:, None], samples)
    probe = torch.from_numpy(noise(*back.shape, seed=1))
    (gradient,) = torch.autograd.grad((back * probe).sum(), x)
    # The pair is linear: the derivative along d is the pair applied to d.
    d = torch.from_numpy(noise(1, 2, samples, seed=2))
    along = waveform_from_spectrogram(spectrogram_from_waveform(d)[:, None], samples)
    torch.testing.assert_close((gradient * d).sum(), (along * probe).sum(), rtol=1e-10, atol=0)


def test_default_dtype_does_not_change_the_window():
    """The window is float32's in float64, too, even where a program changes torch's default."""
    transform.analysis_window.cache_clear()
    expected = torch.hann_window(N_FFT, dtype=torch.float32).double()
    torch.set_default_dtype(torch.float64)
    try:
        window = transform.analysis_window(torch.float64, torch.device("cpu"))
    finally:
        torch.set_default_dtype(torch.float32)
        transform.analysis_window.cache_clear()
    assert torch.equal(window, expected)


def test_network_spectrogram_is_contiguous_and_ordered():
    """Engines hand its memory on as it lies: left real, left imaginary, right real, right imag."""
    waveform = torch.from_numpy(noise(1, 2, 5000)).float()
    spectrogram = spectrogram_from_waveform(waveform)
    z = stft(waveform)
    assert spectrogram.is_contiguous()
    assert spectrogram.shape == (1, 4, FREQUENCY_BINS, frame_count(5000))
    parts = [z[:, 0].real, z[:, 0].imag, z[:, 1].real, z[:, 1].imag]
    assert torch.equal(spectrogram, torch.stack(parts, dim=1))


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (torch.zeros(1, 2, 0), "no samples"),
        (torch.zeros(1, 2, 3000, dtype=torch.float16), "float16; expected float32 or float64"),
        (torch.zeros(1, 1, 3000), r"\(1, 1, 3000\); expected \[batch, 2, samples\]"),
        (torch.zeros(2, 3000), r"expected \[batch, 2, samples\]"),
    ],
)
def test_waveforms_that_are_refused(waveform, message):
    with pytest.raises(AudioError, match=message):
        spectrogram_from_waveform(waveform)


@pytest.mark.parametrize("length", [0, -1, 2 * HOP_LENGTH, 3 * HOP_LENGTH + 1])
def test_lengths_that_do_not_belong_to_the_frames_are_refused(length):
    with pytest.raises(AudioError, match="frames"):
        istft(torch.zeros(FREQUENCY_BINS, 3, dtype=torch.complex64), length)
    freq = np.zeros((1, 1, 4, FREQUENCY_BINS, 3), np.float32)
    with pytest.raises(AudioError, match="frames"):
        waveform_from_spectrogram(torch.from_numpy(freq), length)
    with pytest.raises(AudioError, match="frames"):
        reference_waveform(freq, length)


@pytest.mark.parametrize("shape", [(1, 4, 2048, 3), (1, 1, 2, 2048, 3), (1, 1, 4, 2049, 3)])
def test_spectrograms_of_another_shape_are_refused(shape):
    freq = np.zeros(shape, np.float32)
    with pytest.raises(AudioError, match=r"expected \[batch, sources, 4, 2048, frames\]"):
        waveform_from_spectrogram(torch.from_numpy(freq), 3 * HOP_LENGTH)
    with pytest.raises(AudioError, match=r"expected \[batch, sources, 4, 2048, frames\]"):
        reference_waveform(freq, 3 * HOP_LENGTH)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.zeros(FREQUENCY_BINS + 1, 3, dtype=torch.complex64), "2049"),
        (torch.zeros(FREQUENCY_BINS, 3), "expected complex64 or complex128"),
    ],
)
def test_spectra_that_are_refused(z, message):
    with pytest.raises(AudioError, match=message):
        istft(z, 3 * HOP_LENGTH)


# --- the packed description --------------------------------------------------------------------


@given(kind=KINDS, samples=LENGTHS, level_db=st.floats(-80, 0), seed=SEEDS)
@settings(deadline=None, max_examples=15)
def test_packed_pair_agrees_on_any_signal(signal, agree, kind, samples, level_db, seed):
    waveform = signal(kind, samples, seed=seed) * np.float32(10 ** (level_db / 20))
    spectrogram = spectrogram_from_waveform(torch.from_numpy(waveform)).numpy()
    agree(spectrogram, reference_spectrogram(waveform), "stft")
    rotated = np.ascontiguousarray(spectrogram[:, np.newaxis, ::-1])  # no longer a signal's
    back = waveform_from_spectrogram(torch.from_numpy(rotated), samples).numpy()
    agree(back, reference_waveform(rotated, samples), "stft")


@pytest.mark.parametrize("n", [4, 8, 64, 1024])
def test_packed_fft_is_the_definition(n):
    """Twice the sum over n of x[n] exp(-2 pi i k n / N), Nyquist in the place of imag[0]."""
    samples = noise(3, n)
    packed = forward(samples)
    k = np.arange(n // 2 + 1)
    expected = 2 * samples @ np.exp(-2j * np.pi * np.outer(np.arange(n), k) / n)
    np.testing.assert_allclose(packed.real, expected[:, :-1].real, rtol=0, atol=1e-11)
    np.testing.assert_allclose(packed.imag[:, 1:], expected[:, 1:-1].imag, rtol=0, atol=1e-11)
    np.testing.assert_allclose(packed.imag[:, 0], expected[:, -1].real, rtol=0, atol=1e-11)


@given(log2=st.integers(2, 12), seed=SEEDS, single=st.booleans())
@settings(deadline=None, max_examples=30)
def test_packed_fft_round_trip_is_2n_times(log2, seed, single):
    n = 2**log2
    samples = noise(n, seed=seed).astype(np.float32 if single else np.float64)
    back = inverse(forward(samples))
    assert back.dtype == samples.dtype
    atol = 2e-6 if single else 1e-14
    np.testing.assert_allclose(back / (2 * n), samples, rtol=0, atol=atol)


def test_packed_inverse_of_nyquist_alternates():
    spectrum = Packed(np.zeros(8), np.zeros(8))
    spectrum.imag[0] = 1.0
    np.testing.assert_allclose(inverse(spectrum), (-1.0) ** np.arange(16), rtol=0, atol=1e-15)


@pytest.mark.parametrize("samples", [np.zeros(12), np.zeros(2), np.zeros(8, np.float16)])
def test_packed_fft_refuses(samples):
    with pytest.raises(AudioError, match=r"expected (a power of two|float32 or float64)"):
        forward(samples)


def test_reference_refuses_what_it_does_not_describe():
    with pytest.raises(AudioError, match="at least 2560 samples"):
        reference_spectrogram(np.zeros((1, 2, 2049), np.float32))
    with pytest.raises(AudioError, match=r"expected \[batch, 2, samples\]"):
        reference_spectrogram(np.zeros((2, 5000), np.float32))
    with pytest.raises(AudioError, match=r"expected \(4096,\)"):
        reference_spectrogram(np.zeros((1, 2, 5000), np.float32), np.ones(4095))


@given(samples=st.integers(2, 50), seed=SEEDS, data=st.data())
@settings(deadline=None)
def test_reflection_is_numpys(samples, seed, data):
    left, right = (data.draw(st.integers(0, samples - 1)) for _ in range(2))
    signal = noise(2, samples, seed=seed)
    expected = np.pad(signal, ((0, 0), (left, right)), mode="reflect")
    np.testing.assert_array_equal(reflect_padded(signal, left, right), expected)


# --- windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 4])
def test_symmetric_windows_ripple(parts):
    """The wrong form of a window is found by its ripple; Hamming's stays under 0.1 %."""
    hann, hamming = (get_window(shape, N_FFT, fftbins=False) for shape in ("hann", "hamming"))
    assert relative_ripple(hann, N_FFT // parts) > 1e-5
    assert 1e-5 < relative_ripple(hamming, N_FFT // parts) < 1e-3


def test_overlap_that_is_too_small():
    """Blackman at N/2 dips by 19 %, Hann without overlap falls to nothing."""
    blackman, hann = get_window("blackman", 4096), get_window("hann", 4096)
    assert relative_ripple(blackman, 2048) == pytest.approx(0.08 / 0.42)
    alone = overlap_sum(np.square(hann), 4096)
    assert (alone.min(), alone.max()) == (0.0, 1.0)


@given(n=st.integers(2, 200), data=st.data(), seed=SEEDS)
@settings(deadline=None)
def test_overlap_sum_of_any_window_and_hop(n, data, seed):
    hop = data.draw(st.integers(1, n))
    window = noise(n, seed=seed) + 1.5
    shifts = 3 * (n // hop + 1)
    total = np.zeros(shifts * hop + n)
    for i in range(shifts):
        total[i * hop : i * hop + n] += window
    middle = total[(shifts // 2) * hop : (shifts // 2 + 1) * hop]
    measured = overlap_sum(window, hop)
    np.testing.assert_allclose(measured, middle, rtol=1e-12)
    assert measured.mean() == pytest.approx(window.sum() / hop, rel=1e-12)
    assert relative_ripple(window, hop) >= 0


@pytest.mark.parametrize(
    ("window", "hop", "message"),
    [
        (np.ones((2, 2)), 1, "expected a vector"),
        (np.ones(4), 0, "expected 1 to 4"),
        (np.ones(4), 5, "expected 1 to 4"),
        (np.array([1.0, -1.0]), 2, "add up to zero"),
    ],
)
def test_sums_that_are_refused(window, hop, message):
    with pytest.raises(AudioError, match=message):
        relative_ripple(window, hop)


@given(half=st.integers(1, 64), seed=SEEDS)
@settings(deadline=None)
def test_energy_of_half_a_spectrum(half, seed):
    samples = noise(3, 2 * half, seed=seed)
    spectrum = np.fft.rfft(samples, axis=-1, norm="ortho")
    energy = np.square(samples).sum(axis=-1)
    found = onesided_energy(spectrum, has_nyquist=True, axis=-1)
    np.testing.assert_allclose(found, energy, rtol=1e-12)
    less = onesided_energy(spectrum[:, :-1], has_nyquist=False, axis=-1)
    nyquist = np.abs(spectrum[:, -1]) ** 2
    np.testing.assert_allclose(less, energy - nyquist, rtol=0, atol=1e-12 * energy.max())


def test_segment_has_the_frames_of_the_contract():
    assert frame_count(SEGMENT_LENGTH) == 336
    assert [frame_count(n) for n in (1, 1024, 1025)] == [1, 1, 2]
