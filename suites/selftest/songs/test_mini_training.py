"""The training of ``mini``: honest scores, honest mixtures, no held-out song in training."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from demucs.htdemucs import HTDemucs
from safetensors import safe_open
from torch import Tensor, nn

from harness.errors import CheckpointError
from harness.metrics import snr_db
from harness.subjects import load_subject
from harness.subjects.checkpoints import read_checkpoint
from harness.subjects.songs import make_song

FOLDER = Path(__file__).parents[3] / "golden" / "mini"
HELD_OUT = range(900_000, 900_020)


def load(name: str) -> ModuleType:
    """A module of the training folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"mini_{name}", FOLDER / f"{name}.py")
    if spec is None or spec.loader is None:
        pytest.fail(f"{FOLDER / name}.py is missing")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_si_sdr_is_the_ratio_that_was_built_in() -> None:
    """An error orthogonal to the reference, 20 dB below it, at any gain."""
    scoring = load("scoring")
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((2, 4000))
    error = rng.standard_normal((2, 4000))
    error -= reference * (error * reference).sum() / (reference**2).sum()
    error *= 0.1 * np.sqrt((reference**2).sum() / (error**2).sum())
    for gain in (1.0, 0.5, -3.0):
        actual = scoring.si_sdr_db(
            torch.from_numpy(reference), torch.from_numpy(gain * (reference + error))
        )
        assert float(actual) == pytest.approx(20.0, abs=1e-9)


def test_si_sdr_does_not_flatter_a_silent_estimate() -> None:
    scoring = load("scoring")
    reference = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    silent = scoring.si_sdr_db(reference, torch.zeros(2, 100))
    assert not float(silent) > -100


def test_the_improvement_is_counted_from_the_mixture() -> None:
    """A network that returns the mixture for every stem gains nothing."""
    scoring = load("scoring")
    songs = list(torch.randn(2, 6, 2, 500, generator=torch.Generator().manual_seed(0)))

    class Lazy(torch.nn.Module):
        def forward(self, mixture: torch.Tensor) -> torch.Tensor:
            return mixture[:, None].expand(-1, 6, -1, -1)

    scores = scoring.score(Lazy(), songs, torch.device("cpu"))
    assert scores.mean_improvement_db == pytest.approx(0.0, abs=1e-9)
    assert not scores.reaches_target


def test_one_bad_stem_misses_the_target() -> None:
    scoring = load("scoring")
    improvement = torch.full((3, 6), 20.0)
    assert scoring.Scores(improvement, improvement).reaches_target
    improvement = improvement.clone()
    improvement[:, 4] = 1.9
    assert not scoring.Scores(improvement, improvement).reaches_target


def test_a_batch_is_the_sum_of_its_stems_and_comes_from_its_seed() -> None:
    remix = load("remix")
    songs = torch.randn(5, 6, 2, 900, generator=torch.Generator().manual_seed(0))
    mixture, stems = remix.draw_batch(songs, 40, 300, np.random.default_rng(1))
    again, _ = remix.draw_batch(songs, 40, 300, np.random.default_rng(1))
    assert stems.shape == (40, 6, 2, 300)
    torch.testing.assert_close(mixture, stems.sum(dim=1))
    assert torch.equal(mixture, again)
    silent = (stems.abs().amax(dim=(2, 3)) == 0).float().mean()
    assert 0.02 < float(silent) < 0.15


def test_a_crop_is_a_stretch_of_its_stem() -> None:
    """Stem k of a batch must be made of stem k of the songs, or the network learns other names."""
    remix = load("remix")
    songs = torch.arange(1.0, 7.0)[None, :, None, None] * torch.ones(3, 6, 2, 400)
    _, stems = remix.draw_batch(songs, 30, 100, np.random.default_rng(0))
    level = stems[:, :, :, :1] / torch.arange(1.0, 7.0)[None, :, None, None]
    assert torch.allclose(stems, stems[:, :, :1, :1].expand_as(stems))
    assert float(level.max()) <= 10 ** (9 / 20) + 1e-6


def test_training_never_uses_a_held_out_song() -> None:
    pool = load("song_pool")
    runs = [
        range(pool.training_seed(run, 0), pool.training_seed(run + 1, 0)) for run in (0, 1, 999)
    ]
    assert runs[0].stop == runs[1].start
    for run in runs:
        assert not set(pool.HELD_OUT_SEEDS) & {run.start, run.stop - 1}
        assert run.start > pool.HELD_OUT_SEEDS.stop


def test_the_weight_file_carries_its_architecture(tmp_path: Path) -> None:
    network = load("network")
    torch.manual_seed(0)
    model = network.build_network()
    state = network.rounded_state(model.state_dict())
    size = network.save_network(tmp_path / "mini.safetensors", state, {"seed": 0})
    assert size < 8_000_000
    checkpoint = read_checkpoint(tmp_path / "mini.safetensors")
    assert checkpoint.klass == "demucs.htdemucs.HTDemucs"
    assert checkpoint.kwargs == {"sources": list(model.sources), **network.ARGUMENTS}
    assert checkpoint.state.keys() == model.state_dict().keys()
    assert {value.dtype for value in checkpoint.state.values()} == {torch.float16}
    assert int(checkpoint.kwargs["segment"] * 44_100) == 343_980


def test_weights_beyond_float16_are_refused() -> None:
    network = load("network")
    with pytest.raises(CheckpointError, match=r"weight gain holds 70000\.0"):
        network.rounded_state({"gain": torch.tensor([1.0, 70_000.0])})


def test_published_weights_and_results_are_of_one_run() -> None:
    """Either without the other would let the stated quality drift from the weights."""
    with safe_open(str(FOLDER / "mini.safetensors"), framework="pt") as file:
        provenance = json.loads(file.metadata()["provenance"])
    stated = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    assert provenance == {key: stated[key] for key in provenance}
    assert provenance["complete"]
    assert provenance["results"]["reaches_target"]


def improvements(seeds: Sequence[int]) -> Tensor:
    """SI-SDR over the mixture's of the published weights, [songs, stems]."""
    songs = [torch.tensor(make_song(seed, 7.8).stems) for seed in seeds]
    found: Tensor = (
        load("scoring").score(load_subject("mini").model, songs, torch.device("cpu")).improvement
    )
    return found


def published() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    return document


def published_improvements(seeds: Sequence[int]) -> Tensor:
    songs = published()["si_sdr_improvement_by_song_db"]
    return torch.tensor([list(songs[str(seed)].values()) for seed in seeds], dtype=torch.float64)


def test_published_scores_of_songs_are_those_of_the_results() -> None:
    """The means that are quoted are of the songs that are listed, and reach the target."""
    stems = published()["results"]["si_sdr_improvement_db"]
    songs = published_improvements(HELD_OUT)
    assert songs.mean(dim=0).tolist() == pytest.approx(list(stems.values()), abs=0.01)
    assert float(songs.mean()) >= 6.0
    assert min(stems.values()) >= 2.0


@pytest.mark.exhaustive
def test_published_weights_separate_songs_that_they_never_heard() -> None:
    seeds = HELD_OUT[:3]
    torch.testing.assert_close(
        improvements(seeds), published_improvements(seeds), rtol=0.0, atol=0.02
    )


@pytest.mark.exhaustive
def test_published_weights_reach_every_published_score() -> None:
    found = improvements(HELD_OUT)
    torch.testing.assert_close(found, published_improvements(HELD_OUT), rtol=0.0, atol=0.02)
    assert float(found.mean()) >= 6.0
    assert float(found.mean(dim=0).min()) >= 2.0


@pytest.fixture(scope="module")
def mini() -> HTDemucs:
    """The published network, on 1 s without padding: what a block is worth there suffices."""
    model = load_subject("mini").model
    model.use_train_segment = False
    return model


@pytest.fixture(scope="module")
def mixture() -> Tensor:
    return torch.tensor(make_song(HELD_OUT[0], 7.8).mixture[None, :, 88_200:132_300])


@pytest.fixture(scope="module")
def whole(mini: HTDemucs, mixture: Tensor) -> Tensor:
    with torch.no_grad():
        return mini(mixture)


def silence(_: nn.Module, __: object, output: tuple[Tensor, object]) -> object:
    return torch.zeros_like(output[0]), output[1]


def skip(_: nn.Module, inputs: tuple[Tensor, ...], __: object) -> object:
    return inputs[0]


def snr_without(
    mini: HTDemucs,
    mixture: Tensor,
    whole: Tensor,
    parts: Sequence[nn.Module],
    hook: Callable[..., object],
) -> float:
    """SNR in dB of all stems after the hook took something out of each of the parts."""
    handles = [part.register_forward_hook(hook) for part in parts]
    try:
        with torch.no_grad():
            without = mini(mixture)
    finally:
        for handle in handles:
            handle.remove()
    return snr_db(whole.numpy(), without.numpy())


def test_attention_carries_the_output(mini: HTDemucs, mixture: Tensor, whole: Tensor) -> None:
    """A network that computes the same without attention could not show a mistake in it."""
    parts = [part for part in mini.modules() if isinstance(part, nn.MultiheadAttention)]
    assert len(parts) == 10
    assert snr_without(mini, mixture, whole, parts, silence) < 30


BLOCKS = [
    *(f"crosstransformer.{kind}.{i}" for kind in ("layers", "layers_t") for i in range(5)),
    *(
        f"{kind}.{i}.dconv"
        for kind in ("encoder", "tencoder", "decoder", "tdecoder")
        for i in range(4)
    ),
]


@pytest.mark.parametrize("block", BLOCKS)
def test_no_block_can_go_unnoticed(
    mini: HTDemucs, mixture: Tensor, whole: Tensor, block: str
) -> None:
    """The gate of 60 dB must see any one transformer layer or residual branch that is missing."""
    assert snr_without(mini, mixture, whole, [mini.get_submodule(block)], skip) < 60
