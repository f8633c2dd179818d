"""The transform pair at the network's segment length, against Demucs and against closed forms.

If these fail, the network is fed, or heard through, another transform than the one it was trained
with: everything above this layer would be wrong by the same amount.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import get_window

from harness.audio import FRAMES, FREQUENCY_BINS, HOP_LENGTH, N_FFT, SEGMENT_LENGTH
from harness.audio.stft import analysis_window, spectrogram_from_waveform, waveform_from_spectrogram
from harness.audio.windows import overlap_sum, relative_ripple
from harness.workbench.transforms import forward_error, round_trip_error, window_sums
from suites.stft.parseval import onesided_energy
from suites.stft.reference_stft import reference_spectrogram, reference_waveform

pytestmark = pytest.mark.layer("stft")

SIGNALS = ("silence", "sine", "noise", "chirp", "impulse", "dc")
DTYPES = {"float32": "stft", "float64": "stft_float64"}
"""dtype -> gate."""
EDGE = 1536
"""Samples that the first frame reaches beyond the signal."""


def forward(waveform: np.ndarray) -> np.ndarray:
    return spectrogram_from_waveform(torch.from_numpy(waveform)).numpy()


def inverse(freq: np.ndarray, length: int = SEGMENT_LENGTH) -> np.ndarray:
    return waveform_from_spectrogram(torch.from_numpy(freq), length).numpy()


def demucs_window() -> np.ndarray:
    """The float32 window that Demucs uses in float64, too; 2.0e-7 off the exact one."""
    return analysis_window(torch.float64, torch.device("cpu")).numpy()


def any_spectrogram(sources: int, dtype: str, seed: int = 0) -> np.ndarray:
    """What a network may return, which no signal has: unequal frames, an imaginary part at 0 Hz."""
    shape = (1, sources, 4, FREQUENCY_BINS, FRAMES)
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", SIGNALS)
def test_forward_is_demucs(demucs, signal, check, kind, dtype):
    waveform = signal(kind, SEGMENT_LENGTH, dtype)
    expected = demucs._magnitude(demucs._spec(torch.from_numpy(waveform))).numpy()
    actual = forward(waveform)
    assert actual.shape == (1, 4, FREQUENCY_BINS, FRAMES)
    check(expected, actual, DTYPES[dtype], "spectrogram")
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_inverse_is_demucs(demucs, check, dtype):
    freq = any_spectrogram(2, dtype)
    z = demucs._mask(None, torch.from_numpy(freq))
    expected = demucs._ispec(z, SEGMENT_LENGTH).numpy()
    actual = inverse(freq)
    check(expected, actual, DTYPES[dtype], "waveform")
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("kind", SIGNALS)
def test_packed_forward(signal, check, kind):
    """The description that Swift and Metal code follows, in float32 with its own window."""
    waveform = signal(kind, SEGMENT_LENGTH)
    check(forward(waveform), reference_spectrogram(waveform), "stft", "spectrogram")


@pytest.mark.parametrize("kind", SIGNALS)
def test_packed_forward_in_float64(signal, check, kind):
    waveform = signal(kind, SEGMENT_LENGTH, "float64")
    actual = reference_spectrogram(waveform, demucs_window())
    check(forward(waveform), actual, "stft_float64", "spectrogram")


@pytest.mark.parametrize("dtype", DTYPES)
def test_packed_inverse(check, dtype):
    freq = any_spectrogram(1, dtype)
    window = demucs_window() if dtype == "float64" else None
    actual = reference_waveform(freq, SEGMENT_LENGTH, window)
    check(inverse(freq), actual, DTYPES[dtype], "waveform")


@pytest.mark.parametrize("level_db", [-60, -20, 12])
def test_packed_at_level(signal, check, level_db):
    """Quiet input is where a misplaced epsilon shows; +12 dB brings the noise to full scale."""
    waveform = signal("noise", SEGMENT_LENGTH) * np.float32(10 ** (level_db / 20))
    spectrogram = forward(waveform)
    check(spectrogram, reference_spectrogram(waveform), "stft", "spectrogram")
    freq = spectrogram[:, np.newaxis]
    check(inverse(freq), reference_waveform(freq, SEGMENT_LENGTH), "stft", "waveform")


@pytest.mark.parametrize(
    "positions",
    [
        pytest.param((0, 1), id="start"),
        pytest.param((1535, 1536), id="last reflected"),
        pytest.param((2559, 2560), id="end of the first frame"),
        pytest.param((100_352, 100_353), id="middle"),
        pytest.param((SEGMENT_LENGTH - 2, SEGMENT_LENGTH - 1), id="end"),
        pytest.param((SEGMENT_LENGTH - 1621, SEGMENT_LENGTH - 1622), id="reflected at the end"),
    ],
)
def test_impulses_have_the_spectrum_that_theory_gives(check, positions):
    """Closed form: a unit impulse at m in a frame gives w[m] exp(-2 pi i k m / N) / sqrt(N).

    It sees the window, scale, padding, place of the frames, order and sign of the channels.
    """
    waveform = np.zeros((1, 2, SEGMENT_LENGTH))
    expected = np.zeros((1, 4, FREQUENCY_BINS, FRAMES))
    bins = np.arange(FREQUENCY_BINS)
    for channel, (position, height) in enumerate(zip(positions, (1.0, -0.5), strict=True)):
        waveform[0, channel, position] = height
        images = {position, -position, 2 * (SEGMENT_LENGTH - 1) - position}
        for frame in range(FRAMES):
            for m in (image + EDGE - frame * HOP_LENGTH for image in images):
                if not 0 <= m < N_FFT:
                    continue
                weight = height * (0.5 - 0.5 * np.cos(2 * np.pi * m / N_FFT)) / np.sqrt(N_FFT)
                turn = np.exp(-2j * np.pi * ((bins * m) % N_FFT) / N_FFT)
                expected[0, 2 * channel, :, frame] += weight * turn.real
                expected[0, 2 * channel + 1, :, frame] += weight * turn.imag
    single = waveform.astype(np.float32)
    check(expected.astype(np.float32), forward(single), "stft", "spectrogram")
    check(expected, reference_spectrogram(waveform), "stft_float64", "packed spectrogram")


def test_tones_have_the_level_that_theory_gives(check):
    """A cosine on bin k reads amplitude * 16 there, and -1/2 of that in the bins beside it."""
    amplitude, k = 0.25, 301
    waveform = np.zeros((1, 2, SEGMENT_LENGTH), np.float32)
    # The phase makes it a cosine in the frames that start at a multiple of 1024.
    waveform[0, 1] = amplitude * np.cos(2 * np.pi * k * (np.arange(SEGMENT_LENGTH) + EDGE) / N_FFT)
    inner = slice(4, FRAMES - 4)
    actual = forward(waveform)[0, :, :, inner]
    turn = np.exp(2j * np.pi * k * HOP_LENGTH * np.arange(FRAMES)[inner] / N_FFT)
    expected = np.zeros((FREQUENCY_BINS, turn.size), np.complex128)
    for beside, share in ((-1, -0.5), (0, 1.0), (1, -0.5)):
        expected[k + beside] = share * amplitude * 16 * turn
    check(np.zeros_like(actual[:2]), actual[:2], "stft", "silent channel")
    tone = np.stack([expected.real, expected.imag]).astype(np.float32)
    check(tone, actual[2:], "stft", "channel with the tone")


@pytest.mark.parametrize("kind", SIGNALS)
def test_round_trip(signal, round_trip, check, kind):
    waveform = signal(kind, SEGMENT_LENGTH, "float64")
    expected = round_trip(waveform, demucs_window())
    again = inverse(forward(waveform)[:, np.newaxis])[:, 0]
    check(expected, again, "stft_float64", "waveform, float64")
    single = waveform.astype(np.float32)
    again = inverse(forward(single)[:, np.newaxis])[:, 0]
    check(expected.astype(np.float32), again, "stft", "waveform, float32")
    if kind in ("sine", "dc"):  # nothing at Nyquist: inside, the signal itself comes back
        inside = slice(N_FFT, SEGMENT_LENGTH - N_FFT)
        check(single[..., inside], again[..., inside], "stft", "the signal, inside")


@pytest.mark.parametrize("kind", SIGNALS)
def test_parseval(signal, windowed_frames, check, kind):
    """Each frame has the energy of its windowed samples, less that of its Nyquist bin."""
    waveform = signal(kind, SEGMENT_LENGTH, "float64")
    windowed = windowed_frames(waveform, demucs_window())
    nyquist = (windowed @ (-1.0) ** np.arange(N_FFT)) ** 2 / N_FFT
    expected = np.square(windowed).sum(axis=-1) - nyquist
    spectrogram = forward(waveform)
    z = spectrogram[:, 0::2] + 1j * spectrogram[:, 1::2]
    check(expected, onesided_energy(z, has_nyquist=False), "stft_float64", "energy of frames")


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        *(("hann", 2), ("hann", 4), ("hamming", 2), ("hamming", 4)),
        *(("blackman", 3), ("blackman", 4), ("blackman", 6)),
    ],
)
def test_windows_that_add_up_to_a_constant(check, shape, parts):
    n = 6144  # 3 * 2048, so that thirds are whole
    window = get_window(shape, n)
    assert relative_ripple(window, n // parts) < 1e-14
    constant = np.full(n // parts, parts * window.mean())
    check(constant, overlap_sum(window, n // parts), "stft_float64", "sum of windows")


def test_windows_of_the_transform_pair(check):
    """Hann every N/4: windows add up to 2, their squares to 1.5."""
    window = get_window("hann", N_FFT)
    sums = overlap_sum(window, HOP_LENGTH)
    check(np.full(HOP_LENGTH, 2.0), sums, "stft_float64", "sum of windows")
    squares = overlap_sum(window**2, HOP_LENGTH)
    check(np.full(HOP_LENGTH, 1.5), squares, "stft_float64", "sum of squares")
    assert squares.min() > 1.49  # NOLA
    check(window.astype(np.float32), demucs_window().astype(np.float32), "stft", "window")


@pytest.mark.parametrize("implementation", ["torch", "packed"])
def test_where_the_forward_error_is(parity, signal, check, implementation):
    """In float32 against float64: over frequency, and frame by frame with the edges apart."""
    waveform = signal("noise", SEGMENT_LENGTH)
    expected = forward(waveform.astype(np.float64))
    actual = forward(waveform) if implementation == "torch" else reference_spectrogram(waveform)
    check(expected.astype(np.float32), actual, "stft", "spectrogram")
    words = {"torch": "torch.stft in float32", "packed": "packed real FFT in float32"}
    parity.keep(forward_error(expected, actual, words[implementation], "white noise"))


def test_where_the_round_trip_error_is(parity, signal, round_trip, check):
    """There and back in float32, against the closed form that needs no FFT."""
    waveform = signal("noise", SEGMENT_LENGTH, "float64")
    expected = round_trip(waveform, demucs_window())
    actual = inverse(forward(waveform.astype(np.float32))[:, np.newaxis])[:, 0]
    check(expected.astype(np.float32), actual, "stft", "waveform")
    parity.keep(round_trip_error(expected, actual, "torch.stft and torch.istft in float32"))


def test_sums_of_windows_and_energy_of_frames(parity, signal, windowed_frames, check):
    """COLA of the window that Demucs uses, and Parseval for every frame in float32."""
    waveform = signal("noise", SEGMENT_LENGTH, "float64")
    windowed = windowed_frames(waveform, demucs_window())
    nyquist = (windowed @ (-1.0) ** np.arange(N_FFT)) ** 2 / N_FFT
    energy = np.square(windowed).sum(axis=-1) - nyquist
    spectrogram = forward(waveform.astype(np.float32)).astype(np.float64)
    z = spectrogram[:, 0::2] + 1j * spectrogram[:, 1::2]
    found = onesided_energy(z, has_nyquist=False)
    check(energy.astype(np.float32), found.astype(np.float32), "stft", "energy of frames")
    parity.keep(window_sums(demucs_window(), energy, found))
