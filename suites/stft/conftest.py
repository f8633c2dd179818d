"""What the transform suites share: signals that differ between channels, and the comparison."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from demucs.htdemucs import HTDemucs

from harness.audio import HOP_LENGTH, N_FFT
from harness.audio.windows import overlap_sum
from harness.pytest_plugin import Recorder
from harness.verdicts import GATES

PEAK = 0.25
"""-12 dBFS. The spectrum of a full-scale tone reaches 16, and next to that any float32 FFT is off
by more than 1e-6 (torch's own by 1.4e-6, judged by float64): no 1e-6 gate could be met there.
"""
EDGE = 1536
"""Samples that the first frame reaches beyond the signal."""


def make_signal(kind: str, samples: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    """Return a stereo signal [1, 2, samples] with peak 0.25 whose channels differ."""
    t = np.arange(samples) / 44_100
    rng = np.random.default_rng(seed)
    if kind == "silence":
        left = right = np.zeros(samples)
    elif kind == "sine":
        left, right = np.sin(2 * np.pi * 440 * t), 0.5 * np.cos(2 * np.pi * 5000 * t)
    elif kind == "noise":
        left, right = rng.uniform(-1, 1, (2, samples))
    elif kind == "chirp":
        sweep = np.pi * 22_000 * t**2 * (44_100 / samples)
        left, right = np.sin(sweep), np.cos(sweep[::-1])
    elif kind == "impulse":  # at the edges, at a frame's start, and in the middle of nowhere
        left, right = np.zeros((2, samples))
        left[[0, samples // 2, samples - 1]] = 1, -1, 0.5
        right[[1, 1024, samples - 2]] = -1, 1, 0.75
    elif kind == "dc":
        left, right = np.ones(samples), np.full(samples, -0.5)
    else:
        raise ValueError(kind)
    return (PEAK * np.stack([left, right])[np.newaxis]).astype(dtype)


@pytest.fixture(scope="session")
def signal() -> Callable[..., np.ndarray]:
    return make_signal


def windowed_frames(waveform: np.ndarray, window: np.ndarray) -> np.ndarray:
    """[..., samples] -> [..., frames, 4096]: reflected at both ends, cut, times the window."""
    samples = waveform.shape[-1]
    index = np.abs(np.arange(-EDGE, -(-samples // HOP_LENGTH) * HOP_LENGTH + EDGE))
    padded = waveform[..., np.minimum(index, 2 * (samples - 1) - index)]
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=-1)
    return frames[..., ::HOP_LENGTH, :] * window


def round_trip(waveform: np.ndarray, window: np.ndarray) -> np.ndarray:
    """What inverse of forward gives, without any FFT.

    It is the waveform, attenuated at its ends, less its share at Nyquist. The frames that are cut
    are missing from the sum, not from its divisor.
    """
    alternating = (-1.0) ** np.arange(N_FFT)
    frames = windowed_frames(waveform, window)
    frames -= (frames @ alternating)[..., np.newaxis] * alternating / N_FFT
    count = frames.shape[-2]
    total = np.zeros((*waveform.shape[:-1], (count - 1) * HOP_LENGTH + N_FFT))
    for frame in range(count):
        total[..., frame * HOP_LENGTH :][..., :N_FFT] += frames[..., frame, :] * window
    squares = np.tile(overlap_sum(window**2, HOP_LENGTH), total.shape[-1] // HOP_LENGTH)
    return (total / squares)[..., EDGE : EDGE + waveform.shape[-1]]


@pytest.fixture(scope="session", name="windowed_frames")
def windowed_frames_fixture() -> Callable[..., np.ndarray]:
    return windowed_frames


@pytest.fixture(scope="session", name="round_trip")
def round_trip_fixture() -> Callable[..., np.ndarray]:
    return round_trip


@pytest.fixture(scope="session")
def demucs() -> HTDemucs:
    """The oracle: its transforms don't depend on the size or the weights of its network."""
    return HTDemucs(["a"], channels=16, depth=2, t_layers=1, t_heads=1).eval()


@pytest.fixture
def check(parity: Recorder, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compare under a gate, as a check of the run; the test gives it its name."""
    labels = {"what": request.function.__name__.removeprefix("test_").replace("_", " ")}
    if hasattr(request.node, "callspec"):
        labels["case"] = request.node.callspec.id

    def compare(expected: np.ndarray, actual: np.ndarray, gate: str, tensor: str) -> None:
        parity.compare(expected, actual, gate, tensor=tensor, **labels)

    return compare


@pytest.fixture(scope="session")
def agree() -> Callable[..., None]:
    """Compare under the same gates without recording: for properties with many examples."""

    def compare(expected: np.ndarray, actual: np.ndarray, gate: str) -> None:
        assert actual.shape == expected.shape
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=GATES[gate].rtol, atol=GATES[gate].atol)

    return compare
