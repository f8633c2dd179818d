"""Segments and overlap-add: streamed separation against a plain offline computation.

If these fail, users hear clicks or level dips where segments meet, a wrong end of the song, or
stems of another length than the mix; or a long file exhausts their memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.audio import SEGMENT_LENGTH, SEGMENT_OVERLAP
from harness.audio.segments import crossfade, plan_segments, separate_stream
from harness.errors import AudioError

SOURCES = 3


def reflected(signal: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Signal continued to any index >= 0 by reflection about its last and first sample."""
    period = max(1, 2 * (signal.shape[-1] - 1))
    index = index % period
    return signal[..., np.minimum(index, period - index) if signal.shape[-1] > 1 else 0 * index]


def offline(signal, predict, segment_length, overlap):
    """Whole signal in memory, one segment after the other, no cleverness."""
    length, stride = signal.shape[1], segment_length - overlap
    fade_in = np.array([round(2**24 * (j + 1) / (overlap + 1)) for j in range(overlap)]) / 2**24
    result = np.zeros((SOURCES, 2, length + 2 * segment_length), np.float32)
    start = 0
    while True:
        audio = reflected(signal, np.arange(start, start + segment_length))
        stems = predict(audio[np.newaxis])
        head = slice(start, start + (overlap if start else 0))
        n = head.stop - head.start
        rising, falling = fade_in[:n].astype(np.float32), (1 - fade_in[:n]).astype(np.float32)
        result[..., head] = result[..., head] * falling + stems[..., :n] * rising
        result[..., head.stop : start + segment_length] = stems[..., n:]
        if start + segment_length >= length:
            return result[..., :length]
        start += stride


def position_dependent(audio: np.ndarray) -> np.ndarray:
    """A stand-in for the network whose output depends on the place in the segment."""
    ramp = np.linspace(-1, 2, audio.shape[-1], dtype=np.float32)
    mixed = audio[0] + np.roll(audio[0], 1, axis=-1) * ramp
    return np.stack([mixed * np.float32(s + 1) - ramp for s in range(SOURCES)])


def identity(audio: np.ndarray) -> np.ndarray:
    return np.repeat(audio, SOURCES, axis=0)


def cut(signal: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """The signal in blocks of the given sizes, then the rest."""
    start = 0
    for size in sizes:
        yield signal[:, start : start + size]
        start += size
    yield signal[:, start:]


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (2, length)).astype(np.float32)


@st.composite
def layouts(draw) -> tuple[int, int]:
    segment_length = draw(st.integers(1, 60))
    return segment_length, draw(st.integers(0, segment_length // 2))


@given(
    layout=layouts(),
    length=st.integers(1, 300),
    sizes=st.lists(st.integers(0, 150), max_size=12),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None, max_examples=200)
def test_stream_equals_offline_bit_for_bit(layout, length, sizes, seed):
    segment_length, overlap = layout
    signal = noise(length, seed)
    kwargs = {"segment_length": segment_length, "overlap": overlap}
    streamed = np.concatenate(
        list(separate_stream(cut(signal, sizes), position_dependent, **kwargs)), axis=-1
    )
    expected = offline(signal, position_dependent, segment_length, overlap)
    assert streamed.dtype == np.float32
    np.testing.assert_array_equal(streamed, expected)


# Segments of 100 with an overlap of 20 start every 80 samples: one sample; just under, exactly and
# just over one segment; one more than a stride; exactly two and three segments, and one more.
@pytest.mark.parametrize("length", [1, 2, 21, 80, 81, 99, 100, 101, 180, 181, 260, 261, 1000])
def test_identity_gives_the_signal_back(length):
    signal = noise(length)
    stems = np.concatenate(
        list(separate_stream([signal], identity, segment_length=100, overlap=20)), axis=-1
    )
    assert stems.shape == (SOURCES, 2, length)
    # Two products and a sum, each rounded once, of numbers up to one.
    np.testing.assert_allclose(stems, np.stack([signal] * SOURCES), rtol=0, atol=3 * 2.0**-25)


def test_contract_sizes_are_the_defaults():
    length = SEGMENT_LENGTH + 1
    signal, seen = noise(length), []

    def predict(audio):
        seen.append(audio.shape)
        return identity(audio)

    stems = np.concatenate(list(separate_stream([signal], predict)), axis=-1)
    assert seen == [(1, 2, SEGMENT_LENGTH)] * 2
    np.testing.assert_allclose(stems[1], signal, rtol=0, atol=3 * 2.0**-25)
    plan = plan_segments(length)
    assert (SEGMENT_OVERLAP, plan.stride) == (44_100, 299_880)
    assert plan.segments[1].start == 299_880


@given(layout=layouts(), length=st.integers(1, 300))
@settings(deadline=None)
def test_plan_is_what_the_network_sees(layout, length):
    """The worst segment is found by the plan: it must name the samples that were predicted."""
    segment_length, overlap = layout
    kwargs = {"segment_length": segment_length, "overlap": overlap}
    signal, seen = noise(length), []

    def predict(audio):
        seen.append(audio[0].copy())
        return identity(audio)

    for _ in separate_stream([signal], predict, **kwargs):
        pass
    plan = plan_segments(length, **kwargs)
    assert [s.index for s in plan.segments] == list(range(len(seen)))
    for segment, audio in zip(plan.segments, seen, strict=True):
        held = segment.stop - segment.start
        assert held + segment.padding == segment_length
        np.testing.assert_array_equal(audio[:, :held], signal[:, segment.start : segment.stop])
        everywhere = np.arange(segment.start, segment.start + segment_length)
        np.testing.assert_array_equal(audio, reflected(signal, everywhere))
    assert plan.segments[-1].stop == length
    assert all(s.padding == 0 for s in plan.segments[:-1])


@pytest.mark.parametrize("overlap", [0, 1, 2, 7, 4410, SEGMENT_OVERLAP])
def test_crossfade_weights_sum_to_exactly_one(overlap):
    fade_out, fade_in = crossfade(overlap)
    assert fade_in.shape == fade_out.shape == (overlap,)
    total = fade_out.astype(np.float64) + fade_in.astype(np.float64)  # exact in float64
    np.testing.assert_array_equal(total, np.ones(overlap))
    linear = np.arange(1, overlap + 1) / (overlap + 1)
    np.testing.assert_allclose(fade_in, linear, rtol=0, atol=2.0**-24)


def test_stems_come_while_the_signal_is_still_arriving():
    """Memory stays bounded only if nothing is held back until the end."""
    delivered = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal delivered
        while True:
            delivered += 10
            yield noise(10)

    stream = separate_stream(endless(), identity, segment_length=100, overlap=20)
    received = 0
    for _ in range(50):
        received += next(stream).shape[-1]
        assert delivered - received <= 100


def test_prediction_may_reuse_its_buffers():
    """An engine that returns one and the same array each time must not corrupt the stems."""
    signal, kwargs = noise(500), {"segment_length": 100, "overlap": 30}
    buffer = np.zeros((SOURCES, 2, 100), np.float32)

    def predict(audio):
        buffer[:] = position_dependent(audio)
        audio[:] = np.nan
        return buffer

    stems = np.concatenate(list(separate_stream([signal], predict, **kwargs)), axis=-1)
    np.testing.assert_array_equal(stems, offline(signal, position_dependent, 100, 30))


@pytest.mark.parametrize("blocks", [[], [np.zeros((2, 0), np.float32)]])
def test_empty_signal_is_refused(blocks):
    with pytest.raises(AudioError, match="empty"):
        list(separate_stream(blocks, identity, segment_length=10, overlap=2))


@pytest.mark.parametrize(
    "block", [np.zeros((1, 50), np.float32), np.zeros((2, 50)), np.zeros(50, np.float32)]
)
def test_blocks_must_be_stereo_float32(block):
    with pytest.raises(AudioError, match=r"expected float32 \[2, samples\]"):
        list(separate_stream([block], identity, segment_length=10, overlap=2))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda audio: identity(audio)[..., :-1],
        lambda audio: identity(audio)[np.newaxis],
        lambda audio: identity(audio)[:, :1],
        lambda audio: identity(audio).astype(np.float64),
    ],
    ids=["too short", "batched", "mono", "float64"],
)
def test_predictions_of_another_shape_are_refused(wrong):
    with pytest.raises(AudioError, match=r"expected float32 \[sources, 2, 10\]"):
        list(separate_stream([noise(50)], wrong, segment_length=10, overlap=2))


def test_number_of_sources_must_not_change():
    counts = iter([3, 2])
    with pytest.raises(AudioError, match=r"expected float32 \[3, 2, 10\]"):
        list(
            separate_stream(
                [noise(50)],
                lambda audio: np.repeat(audio, next(counts), axis=0),
                segment_length=10,
                overlap=2,
            )
        )


@pytest.mark.parametrize(("segment_length", "overlap"), [(10, 6), (10, -1), (0, 0)])
def test_impossible_overlaps_are_refused(segment_length, overlap):
    with pytest.raises(AudioError, match="overlap"):
        plan_segments(100, segment_length=segment_length, overlap=overlap)
    with pytest.raises(AudioError, match="overlap"):
        next(separate_stream([noise(5)], identity, segment_length=segment_length, overlap=overlap))


def test_plan_of_nothing_is_refused():
    with pytest.raises(AudioError, match="0 samples"):
        plan_segments(0)
