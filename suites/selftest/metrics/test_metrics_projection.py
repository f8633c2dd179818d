"""The projection onto filtered references, against an explicit least-squares solution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ParityError
from harness.metrics import LOADING, ReferenceProjection

Array = npt.NDArray[np.float64]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def delayed(references: Array, taps: int) -> Array:
    """The explicit basis [n + taps - 1, signals * taps]: every signal at every delay."""
    columns = []
    for signal in references.reshape(-1, references.shape[-1]):
        for delay in range(taps):
            columns.append(np.concatenate([np.zeros(delay), signal, np.zeros(taps - 1 - delay)]))
    return np.array(columns).T


def least_squares(references: Array, signals: Array, taps: int) -> Array:
    """The exact projection by singular values, without normal equations."""
    basis = delayed(references, taps)
    longer = np.pad(signals, ((0, 0), (0, taps - 1)))
    filters = np.linalg.lstsq(basis, longer.T, rcond=1e-10)[0]
    return np.asarray((basis @ filters).T)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    sources=st.integers(1, 3),
    channels=st.integers(1, 2),
    samples=st.integers(20, 400),
    taps=st.integers(1, 20),
    seed=st.integers(0, 9),
)
def test_projection_is_the_least_squares_solution(
    sources: int, channels: int, samples: int, taps: int, seed: int
) -> None:
    """Short signals make more unknowns than equations, too: still the same projection."""
    references = rng(seed).standard_normal((sources, channels, samples))
    signals = rng(seed + 100).standard_normal((2, samples))
    projection = ReferenceProjection(references, filter_length=taps)
    expected = least_squares(references, signals, taps)
    assert np.abs(projection.project(signals) - expected).max() < 1e-6
    for source in range(sources):
        expected = least_squares(references[source], signals, taps)
        actual = projection.project(signals, source=source)
        assert np.abs(actual - expected).max() < 1e-6


def degenerate(kind: str) -> Array:
    references = 0.1 * rng().standard_normal((3, 2, 500))
    if kind == "mono":
        references[0, 1] = references[0, 0]
    elif kind == "anti-phase":
        references[0, 1] = -references[0, 0]
    elif kind == "equal sources":
        references[1] = references[0]
    elif kind == "sum of sources":
        references[2] = references[0] - 0.5 * references[1]
    elif kind == "silent channel":
        references[0, 1] = 0
    elif kind == "tone":
        references[0] = np.sin(0.3 * np.arange(500))
    elif kind == "constant":
        references[:] = 0.3
    return references


@pytest.mark.parametrize(
    "kind",
    ["mono", "anti-phase", "equal sources", "sum of sources", "silent channel", "tone", "constant"],
)
def test_singular_references_are_projected_onto_as_if_they_were_not(kind: str) -> None:
    references = degenerate(kind)
    signals = rng(1).standard_normal((2, 500))
    projection = ReferenceProjection(references, filter_length=16)
    assert projection.active == (0, 1, 2)
    expected = least_squares(references, signals, 16)
    assert np.abs(projection.project(signals) - expected).max() < 1e-6
    assert projection.loading == LOADING


def test_a_mixture_of_the_references_is_its_own_projection() -> None:
    references = degenerate("mono")
    mixture = references[2, :1] - 0.3 * references[0, :1]
    projected = ReferenceProjection(references, filter_length=16).project(mixture)
    assert projected.shape == (1, 515)
    assert np.abs(projected - np.pad(mixture, ((0, 0), (0, 15)))).max() < 1e-12


def test_the_loading_costs_what_is_documented() -> None:
    """In a direction of eigenvalue v, v * (loading / (v + loading))^4 is left out, and no more."""
    taps, samples, loading = 32, 3000, 1e-6  # a loading far over the rounding of float64
    references = np.cumsum(np.cumsum(rng().standard_normal((2, 2, samples)), axis=-1), axis=-1)
    references *= scipy.signal.windows.hann(samples)
    references[..., 1 - taps :] = 0  # so that filtered references end with the references
    references /= np.sqrt(np.mean(references**2, axis=(1, 2), keepdims=True))
    projection = ReferenceProjection(references, filter_length=taps, loading=loading)
    basis = delayed(references / np.sqrt(samples), taps)
    left, singular, _ = np.linalg.svd(basis, full_matrices=False)
    values = singular**2
    assert values.min() < loading / 3 < values.max()
    signals = (left * singular).T[:, :samples]  # one unit filter in each direction
    loss = np.sum((signals - projection.project(signals)[:, :samples]) ** 2, axis=1)
    predicted = values * (loading / (values + loading)) ** 4
    near = predicted > 1e-12
    assert near.sum() > 10
    assert loss[near] == pytest.approx(predicted[near], rel=0.01)
    assert loss.max() <= 0.1056 * loading


def test_silent_sources_take_no_part() -> None:
    references = 0.1 * rng().standard_normal((3, 2, 300))
    references[1] *= 1e-6
    projection = ReferenceProjection(references, filter_length=8)
    assert projection.active == (0, 2)
    signals = rng(1).standard_normal((2, 300))
    expected = least_squares(references[[0, 2]], signals, 8)
    assert np.abs(projection.project(signals) - expected).max() < 1e-6
    with pytest.raises(ParityError, match=r"source 1 is silent.*\[0, 2\]"):
        projection.project(signals, source=1)


def test_nothing_but_silence_explains_nothing() -> None:
    projection = ReferenceProjection(np.zeros((2, 2, 300)), filter_length=8)
    assert projection.active == ()
    assert not projection.project(np.ones((2, 300))).any()


def test_levels_of_the_sources_do_not_matter() -> None:
    """A quiet stem keeps its full dynamic range beside a loud one."""
    references = rng().standard_normal((2, 2, 400))
    signals = rng(1).standard_normal((2, 400))
    even = ReferenceProjection(references, filter_length=16).project(signals)
    uneven = references * np.array([1.0, 1e-3])[:, None, None]
    assert (
        np.abs(ReferenceProjection(uneven, filter_length=16).project(signals) - even).max() < 1e-9
    )


def test_loading_is_raised_where_the_factorisation_needs_it() -> None:
    references = degenerate("constant")
    projection = ReferenceProjection(references, filter_length=16, loading=1e-22)
    assert 1e-22 < projection.loading <= 1e-13
    signals = rng(1).standard_normal((2, 500))
    expected = least_squares(references, signals, 16)
    assert np.abs(projection.project(signals) - expected).max() < 1e-4


def test_references_are_copied() -> None:
    references = rng().standard_normal((1, 1, 100))
    projection = ReferenceProjection(references, filter_length=4)
    references[:] = 0
    assert projection.references.any()
    with pytest.raises(ValueError, match="read-only"):
        projection.references[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("references", "options", "says"),
    [
        (np.zeros((2, 100)), {}, r"\[2, 100\], expected \[sources, channels, samples\]"),
        (np.full((1, 1, 9), np.nan), {}, "9 samples that are not finite"),
        (np.ones((1, 1, 9)), {"filter_length": 0}, "filter_length is 0"),
        (np.ones((1, 1, 9)), {"loading": 0.0}, "loading is 0"),
        (np.ones((1, 1, 9)), {"loading": 1.0}, "loading is 1"),
    ],
)
def test_bad_references_are_refused(references: Array, options: dict, says: str) -> None:
    with pytest.raises(ParityError, match=says):
        ReferenceProjection(references, **options)


def test_signals_of_another_length_are_refused() -> None:
    projection = ReferenceProjection(np.ones((1, 1, 100)), filter_length=4)
    with pytest.raises(ParityError, match=r"\[2, 99\]"):
        projection.project(np.ones((2, 99)))
