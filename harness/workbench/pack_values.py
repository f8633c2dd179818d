"""What a network makes of a segment of music, in float64, for the pack ``htdemucs``."""

from __future__ import annotations

import copy
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from demucs.htdemucs import HTDemucs

from harness.audio.contract import SAMPLE_RATE, Geometry
from harness.audio.stft import spectrogram_from_waveform, waveform_from_spectrogram
from harness.errors import ParityError
from harness.packs.htdemucs import NetworkValues
from harness.subjects import Subject, extract_inner_model
from harness.subjects.protocol import run_extracted
from harness.subjects.songs import make_song
from harness.subjects.surgery import NORMALISATION_EPS

SONG_SEED: Final = 1
_SHORTEST_SONG_S: Final = 4.0


def subject_values(subject: Subject) -> NetworkValues:
    """Return the values of a subject on one segment of a song.

    Raises:
        ParityError: it is a bag of several models, not stereo, or its branches part late.
    """
    length = subject.segment_length
    song = make_song(SONG_SEED, max(length / SAMPLE_RATE, _SHORTEST_SONG_S))
    audio = song.mixture[None, :, :length]
    attributes = {"subject": subject.name, "fingerprint": subject.fingerprint}
    return network_values(subject.model, subject.geometry, audio, attributes)


def network_values(
    model: HTDemucs, geometry: Geometry, audio: npt.NDArray[np.float32], attributes: dict[str, Any]
) -> NetworkValues:
    """Return the values of a network on ``audio`` [1, C, n], computed in float64.

    The spectrogram is rounded to float32 before the network sees it, because readers are given it
    in that form.

    Raises:
        ParityError: the network takes other audio, or has no time branch of its own to the end.
    """
    if audio.shape != geometry.audio_shape:
        raise ParityError(f"audio has shape {audio.shape}; expected {geometry.audio_shape}")
    if any(getattr(stage, "empty", False) for stage in model.tdecoder):
        raise ParityError("the network's time branch parts from the other late; no pack for it")
    inner = extract_inner_model(copy.deepcopy(model)).double()
    wide = torch.from_numpy(audio).double()
    spectrogram = spectrogram_from_waveform(wide, geometry).float()
    taps = run_extracted(inner, {"spectrogram": spectrogram.double(), "audio": wide}, None)
    waveform = waveform_from_spectrogram(taps["freq"], audio.shape[-1], geometry)
    tensors = {**dict(inner.named_parameters()), **dict(inner.named_buffers())}
    return NetworkValues(
        {"spectrogram": spectrogram.numpy(), "audio": np.ascontiguousarray(audio)},
        {
            name: np.array(tensor.detach().numpy(), np.float32, order="C")
            for name, tensor in tensors.items()
        },
        {name: tap.numpy() for name, tap in taps.items()},
        waveform.numpy(),
        {
            "sources": ",".join(inner.interface.sources),
            "sample_rate": geometry.sample_rate,
            "n_fft": geometry.n_fft,
            "hop": geometry.hop_length,
            "heads": int(model.crosstransformer.layers[0].self_attn.num_heads),
            "normalisation_eps": NORMALISATION_EPS,
            "frequency_embedding_scale": float(model.freq_emb_scale),
            **attributes,
        },
        SONG_SEED,
    )
