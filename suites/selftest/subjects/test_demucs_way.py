"""If these fail, a port of Demucs' command is judged by another way through a file than Demucs'."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from demucs.api import Separator as DemucsSeparator
from demucs.apply import BagOfModels
from variants import BASE, live_model, saved

from harness.audio.files import read_audio
from harness.cli import main
from harness.metrics import snr_db
from harness.subjects import Subject, load_subject
from harness.workbench import open_separator, separate_file

SMALL = {"depth": 2, "dconv_depth": 1, "nfft": 512, "segment": 0.5, "samplerate": 8000}
SMALL |= {"sources": ["vocals", "other"]}


@pytest.fixture(scope="module", params=["one model", "a bag"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("own")
    if request.param == "one model":
        arguments = BASE | SMALL
        saved(folder / "own.th", arguments, live_model(arguments).state_dict())
        return load_subject(f"htdemucs@{folder / 'own.th'}")
    for signature, layers in (("aaaaaaaa", 1), ("bbbbbbbb", 2)):
        arguments = BASE | SMALL | {"t_layers": layers}
        saved(folder / f"{signature}.th", arguments, live_model(arguments).state_dict())
    listed = "models: [aaaaaaaa, bbbbbbbb]\nweights: [[1.0, 0.5], [0.0, 2.0]]\n"
    (folder / "own.yaml").write_text(listed)
    return load_subject(f"htdemucs@{folder}")


def demucs_itself(subject: Subject, audio: np.ndarray) -> np.ndarray:
    """Return the stems [S, C, n] that Demucs' own API makes of a file [C, n]."""
    weights = [list(row) for row in subject.network.bag_weights]
    separator = DemucsSeparator.__new__(DemucsSeparator)  # its constructor downloads a model
    separator._model = BagOfModels(list(subject.models), weights)
    separator._samplerate, separator._audio_channels = 8000, 2
    separator.update_parameter(
        device="cpu", shifts=0, overlap=0.25, split=True, segment=None, jobs=0, progress=False,
        callback=None, callback_arg=None,
    )  # fmt: skip
    _, stems = separator.separate_tensor(torch.from_numpy(audio))
    return np.stack([stems[source].numpy() for source in subject.sources])


@pytest.mark.parametrize("samples", [900, 4000, 11_111])
def test_like_demucs_is_what_demucs_makes_of_a_file(
    subject: Subject, samples: int, tmp_path: Path
) -> None:
    """Shorter than a segment, one segment, several; PyTorch, and segment by segment as packages."""
    song = tmp_path / "song.wav"
    noise = np.random.default_rng(3).standard_normal((samples, 2)).astype(np.float32)
    soundfile.write(song, 0.2 * noise + 0.05, 8000, subtype="FLOAT")
    audio = read_audio(song, subject.geometry)
    expected = demucs_itself(subject, audio)
    with torch.no_grad():
        itself = subject.network.separate_file(subject.models, torch.from_numpy(audio)).numpy()
    separator = open_separator(subject.name)
    assert snr_db(expected, itself) > 120
    assert snr_db(expected, separate_file(song, separator, "demucs")) > 110
    assert snr_db(expected, separate_file(song, separator)) < 60, "ours is another way"


def test_a_way_that_is_none_and_a_way_without_a_file_are_refused(
    subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = tmp_path / "song.wav"
    soundfile.write(song, np.zeros((100, 2)), 8000)
    words = ["separate", str(song), "--subject", subject.name, "--out", str(tmp_path / "out")]
    assert main([*words, "--like", "spleeter"]) == 2
    assert "unknown way through a file 'spleeter'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["check", "x.mlpackage", "--subject", subject.name, "--like", "demucs"]) == 2
    assert "give one with --audio" in capsys.readouterr().err
