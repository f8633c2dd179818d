"""The pack of a whole network: every block has a tap, and each way to run it is a case."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.audio.contract import SAMPLE_RATE, Geometry
from harness.errors import ParityError
from harness.packs import Pack, Request, Results, judge, open_pack, write_pack
from harness.packs.htdemucs import network_cases
from harness.subjects import extract_inner_model, run_extracted, tap_names
from harness.subjects.songs import make_song
from harness.verdicts import Verdict
from harness.workbench.pack_values import network_values
from suites.selftest.networks import narrow_network

MODEL = narrow_network(["a", "b"], t_layers=2)
LENGTH = int(MODEL.segment * SAMPLE_RATE)
GEOMETRY = Geometry(SAMPLE_RATE, 2, MODEL.nfft, LENGTH)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    audio = make_song(1, 4.0).mixture[None, :, :LENGTH]
    values = network_values(MODEL, GEOMETRY, audio, {"subject": "narrow"})
    folder = tmp_path_factory.mktemp("network") / "pack"
    write_pack(folder, "htdemucs", network_cases(values), {"htdemucs": "the network"})
    return open_pack(folder)


def in_float32(pack: Pack, mode: str) -> dict[str, np.ndarray]:
    """The original HTDemucs on the given audio, and the taps of the extracted network."""
    case = next(case for case in pack.manifest.cases if case.name == f"htdemucs.{mode}")
    given = {
        entry.name: torch.from_numpy(pack.read(case, entry).copy())
        for entry in case.tensors
        if entry.name.startswith("in/")
    }
    with torch.no_grad():
        inputs = {name: given[f"in/{name}"] for name in ("spectrogram", "audio")}
        taps = run_extracted(extract_inner_model(MODEL), inputs, None)
        stems = MODEL(given["in/audio"]) if mode == "full" else taps["time"]
    made = {name: tap.numpy() for name, tap in taps.items()} | {"stems": stems.numpy()}
    wanted = {entry.name[4:] for entry in case.expected}
    return {f"{case.name}/out/{name}": made[name] for name in made if name in wanted}


def judged(pack: Pack, made: dict[str, np.ndarray]) -> list[str]:
    results = Results({name: (lambda array=array: array) for name, array in made.items()})
    judgement = judge(pack, results, Request())
    assert judgement.missing == []
    return [finding.name for finding in judgement.of(Verdict.FAIL)]


@pytest.fixture(scope="module")
def honest(pack: Pack) -> dict[str, np.ndarray]:
    return in_float32(pack, "full") | in_float32(pack, "time_only")


def test_the_original_in_fp32_passes_in_both_ways(
    pack: Pack, honest: dict[str, np.ndarray]
) -> None:
    """Its stems come from the original's own forward, inverse STFT included."""
    assert judged(pack, honest) == []
    assert [case.name for case in pack.manifest.cases] == ["htdemucs.full", "htdemucs.time_only"]


def test_every_block_has_a_tap_in_the_order_of_computation(pack: Pack) -> None:
    full, time_only = pack.manifest.cases
    assert [entry.name[4:] for entry in full.expected] == [
        *tap_names(extract_inner_model(MODEL)),
        "stems",
    ]
    names = [entry.name[4:] for entry in time_only.expected]
    assert names[0] == "norm.time"
    assert names[-2:] == ["time", "stems"]
    assert {"tencoder.1", "crosstransformer.layers_t.1", "tdecoder.0"} <= set(names)
    assert not {"freq", "decoder.0", "encoder.0", "norm.freq"} & set(names)


def test_the_weights_are_those_of_the_network(pack: Pack) -> None:
    """Somebody without PyTorch must be able to run it from the folder alone."""
    full, time_only = pack.manifest.cases
    given = {entry.name: pack.read(full, entry) for entry in full.tensors if entry.file == "given"}
    inner = extract_inner_model(MODEL)
    for name, parameter in inner.state_dict().items():
        assert np.array_equal(given[f"param/{name}"], parameter.numpy()), name
    assert "param/crosstransformer.positions_t" in given
    assert full.attributes["sources"] == "a,b"
    alone = {entry.name for entry in time_only.tensors if entry.file == "given"}
    assert alone < set(given)
    assert not [name for name in alone if name.startswith("param/decoder.")]
    assert [name for name in alone if name.startswith("param/encoder.")]


def test_a_wrong_block_is_the_first_that_fails(pack: Pack, honest: dict[str, np.ndarray]) -> None:
    """One GELU by tanh in a decoder: end to end it is 90 dB, and only the taps say where."""
    made = dict(honest)
    later = ["htdemucs.full/out/tdecoder.1", "htdemucs.full/out/time", "htdemucs.full/out/stems"]
    for name in later:
        noise = np.sin(np.arange(made[name].size, dtype=np.float32)).reshape(made[name].shape)
        made[name] = made[name] + np.float32(10 ** (-90 / 20) * np.std(made[name])) * noise
    assert judged(pack, made) == later


def test_audio_of_another_length_is_refused() -> None:
    with pytest.raises(ParityError, match="audio has shape"):
        network_values(MODEL, GEOMETRY, np.zeros((1, 2, 7), np.float32), {})
