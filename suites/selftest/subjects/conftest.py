from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from demucs.htdemucs import HTDemucs
from subjects_models import TINY, music_like

from harness.subjects import Architecture, names
from harness.subjects.seeded import seeded_state
from harness.subjects.weights import empty_model, model_from_state


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """The small architecture, known by its name."""
    monkeypatch.setitem(names.ARCHITECTURES, TINY.name, TINY)  # type: ignore[arg-type]
    return TINY


@pytest.fixture
def tiny_bag(monkeypatch: pytest.MonkeyPatch) -> Architecture:
    bag = Architecture(
        "tiny_bag",
        TINY.sources,
        TINY.arguments,
        members=("aaaaaaaa", "bbbbbbbb"),
        bag_weights=((1.0, 0.25, 1.0), (0.0, 0.75, 2.0)),
    )
    monkeypatch.setitem(names.ARCHITECTURES, bag.name, bag)  # type: ignore[arg-type]
    return bag


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return seeded_state(empty_model(TINY), 0)


@pytest.fixture
def model(state: dict[str, torch.Tensor]) -> HTDemucs:
    return model_from_state(TINY, state)


@pytest.fixture
def mix() -> torch.Tensor:
    return music_like(22_050)
