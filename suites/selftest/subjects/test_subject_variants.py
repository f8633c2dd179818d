"""Any HTDemucs: its own stems, segment, sample rate, channels and STFT, from its checkpoint."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from demucs.apply import BagOfModels, apply_model
from demucs.htdemucs import HTDemucs
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from subjects_models import music_like
from typer.testing import CliRunner
from variants import BASE, VARIANTS, live_model, saved

from harness.audio.stft import spectrogram_from_waveform
from harness.cli.app import app
from harness.conversion import convert_to_coreml, load_recipe, trace_inner_model
from harness.engines import open_engine
from harness.errors import CheckpointError, ParityError, UnknownNameError
from harness.metrics import snr_db
from harness.subjects import (
    Subject,
    describe_subject,
    extract_inner_model,
    load_subject,
    run_original,
    separate_segment,
)
from harness.subjects.arguments import complete_arguments
from harness.subjects.names import ARCHITECTURES
from harness.subjects.shapes import arguments_from_shapes, stems_in_shapes
from harness.workbench import open_separator
from harness.workbench.separator import Separator, separate_file

SHAPED = ("two stems", "mono", "nfft 2048", "other depth", "other width", "other layers")
"""Variants that their tensors' shapes show."""


class Own(NamedTuple):
    """A variant: its file, the network that was saved in it, and what was loaded."""

    path: Path
    model: HTDemucs
    subject: Subject


def checkpoint(folder: Path, variant: str) -> tuple[Path, HTDemucs]:
    arguments = BASE | VARIANTS[variant]
    model = live_model(arguments)
    return saved(folder / "own.th", arguments, model.state_dict()), model


# --- what a checkpoint says -----------------------------------------------------------------------


@pytest.fixture(scope="module", params=VARIANTS)
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Own:
    path, model = checkpoint(tmp_path_factory.mktemp("own"), request.param)
    return Own(path, model, load_subject(f"htdemucs@{path}"))


def test_a_variant_is_what_demucs_would_construct(own: Own) -> None:
    """The oracle is HTDemucs itself: its attributes, and its tensors."""
    model, subject = own.model, own.subject
    length = int(model.segment * model.samplerate)
    assert subject.warnings == ()
    assert subject.sources == tuple(model.sources)
    assert subject.geometry.segment_length == length
    assert subject.geometry.sample_rate == model.samplerate
    assert subject.geometry.audio_shape == (1, model.audio_channels, length)
    assert subject.geometry.hop_length == model.hop_length
    loaded = subject.model.state_dict()
    assert loaded.keys() == model.state_dict().keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in model.state_dict().items())


def test_an_outline_says_the_same_without_weights(own: Own) -> None:
    """And whatever the checkpoint is named after: its own arguments decide."""
    outline = describe_subject(f"mini@{own.path}")
    inner = extract_inner_model(own.model)
    assert (outline.sources, outline.geometry) == (own.subject.sources, own.subject.geometry)
    assert outline.bag_weights == own.subject.network.bag_weights
    assert outline.geometry.spectrogram_shape == inner.interface.inputs["spectrogram"]
    assert outline.geometry.audio_shape == inner.interface.inputs["audio"]
    assert {parameter.device.type for parameter in outline.empty_model().parameters()} == {"meta"}
    taps = outline.interface.inner_taps
    assert len([tap for tap in taps if tap.startswith("encoder.")]) == own.model.depth


def test_a_variant_without_its_stft_computes_the_same(own: Own) -> None:
    """Surgery, both transforms and the sum of the branches, against the original's forward."""
    model, subject = own.model, own.subject
    mix = music_like(subject.geometry.segment_length, subject.geometry.channels)
    ours = spectrogram_from_waveform(mix, subject.geometry)
    torch.testing.assert_close(ours, run_original(model, mix).spectrogram, rtol=1e-5, atol=1e-6)
    separator = Separator([open_engine("torch", subject)], subject.network)
    with torch.no_grad():
        expected = model(mix)[0].numpy()
    assert expected.shape == (
        len(model.sources),
        model.audio_channels,
        subject.geometry.segment_length,
    )
    assert snr_db(expected, separator(mix.numpy())) > 110


def test_an_outline_follows_its_file(tmp_path: Path) -> None:
    """A test process lives long, and a checkpoint may be saved again meanwhile."""
    path, _ = checkpoint(tmp_path, "two stems")
    assert describe_subject(f"mini@{path}").sources == ("vocals", "other")
    checkpoint(tmp_path, "three stems")
    assert describe_subject(f"mini@{path}").sources == ("speech", "music", "effects")


# --- through a package ----------------------------------------------------------------------------


def test_a_variant_is_converted_and_separates_a_file(tmp_path: Path) -> None:
    """Everything is unlike the published models: rate, channels, STFT, stems, depth, segment."""
    arguments = BASE | {
        "sources": ["vocals", "other"], "samplerate": 48_000, "audio_channels": 1, "nfft": 2048,
        "depth": 2, "dconv_depth": 1, "segment": Fraction(2, 5),
    }  # fmt: skip
    model = live_model(arguments)
    path = saved(tmp_path / "own.th", arguments, model.state_dict())
    subject = load_subject(f"htdemucs@{path}")
    package = tmp_path / "own.mlpackage"
    convert_to_coreml(
        trace_inner_model(extract_inner_model(subject.model)),
        recipe=load_recipe("fp32"),
        out=package,
        subject=subject.name,
        fingerprint=subject.fingerprint,
    )
    song = tmp_path / "song.wav"
    soundfile.write(song, music_like(33_075)[0].T.numpy(), 44_100, subtype="FLOAT")
    original = open_separator(f"htdemucs@{path}")
    converted = open_separator(f"htdemucs@{path}", packages=[package])
    expected, actual = separate_file(song, original), separate_file(song, converted)
    assert expected.shape == (2, 1, 36_000), "0.75 s at the network's own rate, in mono"
    assert snr_db(expected, actual) > 100
    with pytest.raises(ParityError, match="has the inputs"):
        open_separator("mini@seeded", packages=[package])


@pytest.mark.exhaustive
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_commands_convert_and_separate_every_variant(tmp_path: Path, variant: str) -> None:
    path, model = checkpoint(tmp_path, variant)
    song = tmp_path / "song.flac"
    soundfile.write(song, music_like(44_100)[0].T.numpy(), 44_100, subtype="PCM_24")
    package, run = tmp_path / "own.mlpackage", CliRunner()
    words = ["convert", f"htdemucs@{path}", "--out", str(package)]
    assert run.invoke(app, words).exit_code == 0
    stems = {}
    for kind, extra in (("torch", []), ("mil", ["--package", str(package)])):
        out = tmp_path / kind
        words = ["separate", str(song), "--subject", f"htdemucs@{path}", "--out", str(out), *extra]
        assert run.invoke(app, words).exit_code == 0
        found = {file.stem: soundfile.read(file, always_2d=True) for file in out.iterdir()}
        assert set(found) == set(model.sources)
        assert {rate for _, rate in found.values()} == {model.samplerate}
        stems[kind] = np.stack([found[source][0] for source in model.sources])
    assert stems["torch"].shape[-1] == model.audio_channels
    assert snr_db(stems["torch"], stems["mil"]) > 100


# --- what a checkpoint leaves open ----------------------------------------------------------------


def bare(folder: Path, variant: str) -> tuple[Path, HTDemucs]:
    model = live_model(BASE | VARIANTS[variant])
    path = folder / "bare.safetensors"
    save_file({key: value.clone() for key, value in model.state_dict().items()}, path)
    return path, model


SAID = {
    "segment": "1/2", "samplerate": "44100", "sources": "drums,bass,other,vocals", "t_heads": "2",
}  # fmt: skip


@pytest.mark.parametrize("variant", SHAPED)
def test_a_bare_state_dict_and_what_it_leaves_open_are_the_network(
    tmp_path: Path, variant: str
) -> None:
    path, model = bare(tmp_path, variant)
    said = SAID | {"sources": ",".join(model.sources)}
    options = "&".join(f"{key}={value}" for key, value in said.items())
    subject = load_subject(f"htdemucs@{path}?{options}")
    assert subject.warnings == ()
    mix = music_like(subject.geometry.segment_length, subject.geometry.channels)
    with torch.no_grad():
        assert torch.equal(separate_segment(subject, mix), model(mix)[0])


def test_what_is_open_is_asked_for_with_the_words_that_say_it(tmp_path: Path) -> None:
    """Another rate or segment loads and computes something: nobody would see that it is wrong."""
    path, _ = bare(tmp_path, "48 kHz")
    with pytest.raises(CheckpointError) as caught:
        load_subject(f"htdemucs@{path}")
    words = "--set segment=39/5 --set samplerate=44100 --set sources=drums,bass,other,vocals"
    assert f"{words} --set t_heads=8" in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(path))
    with pytest.raises(CheckpointError, match="doesn't say sources, t_heads, and"):
        load_subject(f"htdemucs@{path}?segment=1/2&samplerate=48000")


def test_stems_that_no_name_has_are_asked_for(tmp_path: Path) -> None:
    path, _ = bare(tmp_path, "three stems")
    with pytest.raises(CheckpointError, match=r"separates 3 stems.*add sources=a,b,c"):
        load_subject(f"htdemucs@{path}")
    with pytest.raises(CheckpointError, match=r"separates 3 stems, and 2 were named"):
        load_subject(f"htdemucs@{path}?sources=vocals,other")


def test_options_that_contradict_the_tensors_are_refused(tmp_path: Path) -> None:
    path, _ = bare(tmp_path, "nfft 2048")
    with pytest.raises(CheckpointError, match=r"tensors of nfft=2048, but .* says nfft=4096"):
        load_subject(f"htdemucs@{path}?nfft=4096")


def test_options_that_contradict_the_checkpoint_are_refused(tmp_path: Path) -> None:
    path, _ = checkpoint(tmp_path, "48 kHz")
    with pytest.raises(CheckpointError, match=r"made with samplerate=48000, but .* says .*=44100"):
        load_subject(f"htdemucs@{path}?samplerate=44100")
    with pytest.raises(CheckpointError, match=r"made with segment=1/2, but .* says segment=1;"):
        load_subject(f"htdemucs@{path}?segment=1")
    assert load_subject(f"htdemucs@{path}?samplerate=48000&segment=0.5").notes == ()


def test_a_segment_may_be_shortened_as_demucs_does(tmp_path: Path) -> None:
    """``demucs --segment 0.25``: the transformer takes any length up to the trained one."""
    path, model = checkpoint(tmp_path, "48 kHz")
    subject = load_subject(f"htdemucs@{path}?segment=1/4")
    assert subject.geometry.segment_length == 12_000
    assert "1/4 s instead of 1/2 s" in subject.notes[0]
    model.segment = Fraction(1, 4)
    mix = music_like(12_000)
    with torch.no_grad():
        assert torch.equal(separate_segment(subject, mix), model(mix)[0])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("segmnt=10", "did you mean 'segment'"),
        ("rescale=0", "unknown option"),
        ("segment=ten", "segment='ten'.*expected a number"),
        ("segment=1e9", "expected a number"),
        ("segment=1/0", "expected a number"),
        ("segment=0", "0 s at a samplerate of 44100 Hz are no sample"),
        ("samplerate=0", "at a samplerate of 0 Hz are no sample"),
        ("samplerate=-5", "samplerate='-5'.*expected a number, 0 or more"),
        ("t_heads=3", "assert dim % num_heads == 0"),
        ("samplerate=99999999", "samplerate is 99999999, expected a number up to"),
        ("t_gelu=maybe", "expected true or false"),
        ("sources=a,a", "different names"),
        ("sources=", "different names"),
        ("depth=12", "no HTDemucs has the constructor arguments.*parameters"),
        ("t_heads=7", "no HTDemucs has the constructor arguments"),
        ("channels=4", "too few channels"),
        ("segment=5&segment=6", "twice"),
    ],
)
def test_options_that_can_not_be_are_refused(options: str, reason: str) -> None:
    with pytest.raises(ParityError, match=reason) as caught:
        load_subject(f"mini@seeded?{options}")
    if not isinstance(caught.value, UnknownNameError):
        assert len(str(caught.value)) < 500


def test_a_name_that_is_far_from_all_others_gets_no_advice() -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_subject("mini@seeded?bogus=10")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("options", ["", "?segment=1"])
def test_the_name_of_a_file_alone_is_told_what_lacks(tmp_path: Path, options: str) -> None:
    path = tmp_path / "my.th"
    path.write_bytes(b"weights")
    with pytest.raises(ParityError, match=re.escape(f"did you mean 'htdemucs@{path}{options}'?")):
        load_subject(f"{path}{options}")


def test_commands_take_options_one_by_one(tmp_path: Path) -> None:
    words = ["separate", str(tmp_path / "no.wav"), "--subject", "mini@seeded", "--out", "x"]
    result = CliRunner().invoke(app, [*words, "--set", "segment=1", "--set", "segmnt=2"])
    assert isinstance(result.exception, UnknownNameError)
    assert "subject mini@seeded?segment=1&segmnt=2" in str(result.exception)


# --- shapes ---------------------------------------------------------------------------------------

NETWORKS = st.fixed_dictionaries(
    {
        "sources": st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True),
        "audio_channels": st.integers(1, 3),
        "channels": st.sampled_from([16, 24, 48]),
        "growth": st.integers(1, 3),
        "nfft": st.sampled_from([1024, 2048, 4096]),
        "cac": st.booleans(),
        "depth": st.integers(1, 4),
        "rewrite": st.booleans(),
        "freq_emb": st.sampled_from([0, 0.2]),
        "context": st.integers(0, 2),
        "context_enc": st.integers(0, 1),
        "norm_starts": st.integers(1, 5),
        "dconv_mode": st.integers(0, 3),
        "dconv_depth": st.integers(1, 3),
        "dconv_comp": st.sampled_from([2, 4, 8]),
        "bottom_channels": st.sampled_from([0, 32]),
        "t_layers": st.integers(0, 3),
        "t_hidden_scale": st.sampled_from([1.0, 2.5, 4.0]),
        "t_norm_in": st.booleans(),
        "t_norm_first": st.booleans(),
        "t_norm_out": st.booleans(),
        "t_layer_scale": st.booleans(),
        "t_cross_first": st.booleans(),
        "t_emb": st.sampled_from(["sin", "scaled"]),
    }
)


@settings(max_examples=20, deadline=None)
@given(arguments=NETWORKS)
def test_shapes_tell_all_that_shapes_need(arguments: dict[str, Any]) -> None:
    """Constructed again from what its shapes tell, a network has the same names and shapes."""
    with torch.device("meta"):
        state = HTDemucs(**arguments, t_heads=1).state_dict()
    base = complete_arguments(ARCHITECTURES["htdemucs"]) | {"t_heads": 1}
    if not arguments["freq_emb"]:
        base["nfft"] = arguments["nfft"]
    found = arguments_from_shapes(Path("x"), state, base)
    assert stems_in_shapes(Path("x"), state, found) == len(arguments["sources"])
    with torch.device("meta"):
        again = HTDemucs(**(base | found | {"sources": arguments["sources"]})).state_dict()
    shapes = {name: tensor.shape for name, tensor in state.items()}
    assert {name: tensor.shape for name, tensor in again.items()} == shapes


# --- bags -----------------------------------------------------------------------------------------


def test_a_bag_honours_its_list(tmp_path: Path) -> None:
    """Oracle: Demucs' own bag, with the segment and the weights of the same list."""
    models = []
    for signature in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
        arguments = BASE | {"sources": ["vocals", "other"], "t_layers": len(models) + 1}
        models.append(live_model(arguments))
        saved(tmp_path / f"{signature}.th", arguments, models[-1].state_dict())
    weights = [[1.0, 0.5], [0.0, 2.0], [3.0, 0.0]]
    listed = tmp_path / "own.yaml"
    listed.write_text(
        f"models: [aaaaaaaa, bbbbbbbb, cccccccc]\nweights: {weights}\nsegment: 0.25\n"
    )
    subject, outline = load_subject(f"htdemucs@{tmp_path}"), describe_subject(f"mini@{listed}")
    bag = BagOfModels(models, weights, 0.25)
    mix = music_like(11_025)
    assert subject.geometry.segment_length == 11_025
    expected = apply_model(bag, mix, shifts=0, split=False)[0]
    torch.testing.assert_close(separate_segment(subject, mix), expected, rtol=1e-6, atol=1e-8)
    assert outline.bag_weights == subject.network.bag_weights == tuple(map(tuple, weights))
    assert load_subject(f"mini@{listed}").fingerprint == subject.fingerprint
    separator: Separator = open_separator(f"mini@{listed}")
    assert snr_db(expected.numpy(), separator(mix.numpy())) > 110

    listed.write_text("models: [aaaaaaaa, bbbbbbbb, cccccccc]\nsegment: 44\n")
    unweighted = load_subject(f"htdemucs@{tmp_path}")
    assert unweighted.geometry.segment_length == 22_050, (
        "a list may shorten a segment, never lengthen it"
    )
    assert unweighted.fingerprint != subject.fingerprint


def test_models_of_a_bag_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    for signature, change in (("aaaaaaaa", {}), ("bbbbbbbb", {"samplerate": 48_000})):
        arguments = BASE | change
        saved(tmp_path / f"{signature}.th", arguments, live_model(arguments).state_dict())
    (tmp_path / "own.yaml").write_text("models: [aaaaaaaa, bbbbbbbb]")
    with pytest.raises(CheckpointError, match=r"differ: .*44100.*48000"):
        load_subject(f"htdemucs@{tmp_path}")
