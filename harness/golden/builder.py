"""The tensors of a golden, computed by the subject itself: the original in PyTorch.

The inputs of a case of the kind ``example`` are what the network says (`Network.example`). If it
has several calls, ``call.K.NAME`` is a tensor of call K, beside the first one's; taps are of that.

A golden of one segment holds the network's inputs and outputs by their names, ``tap.NAME`` of each
inner tap if the recipe says ``taps``, and ``stems`` where the network has some. Of HTDemucs, after
one forward pass of each model, n = segment length, S = sources:

==================  =====================  =================================================
``audio``           [1, 2, n]              the signal
``spectrogram``     [1, 4, 2048, frames]   what the original's STFT made of it
``freq``            [1, S, 4, 2048, ...]   what goes into its inverse STFT
``time``            [1, S, 2, n]           what is added to the result of that
``stems``           [S, 2, n]              its result
``tap.NAME``        see `subjects.taps`    inner tensors, if the recipe says ``taps``
``true_stems``      [S, 2, n]              what was mixed, if the signal is a song and the
                                           subject separates what songs have
==================  =====================  =================================================

A case of one published segment is one segment of the subject, however long its own is, in the
subject's channels. Signals are made sample by sample: at another sample rate they sound higher or
lower, and test the same.

The taps ``freq`` and ``time`` are the outputs above and are not stored twice. A bag of several
models has ``model.I.freq``, ``model.I.time`` and ``model.I.tap.NAME`` for its model I instead, and
``stems`` averaged as the bag does. A ``file`` case has ``audio``, ``stems`` and ``true_stems``
alone; its stems are put together from overlapping segments, each a forward pass.

All tensors are float32. Nothing of ours stands between the signal and the tensors but, in a file,
the overlap-add.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from harness.audio import PUBLISHED, SAMPLE_RATE
from harness.audio.segments import separate_stream
from harness.errors import ParityError
from harness.golden.recipes import EXAMPLE, SONG, Case
from harness.subjects import Network, Subject, separate_segment
from harness.subjects.calls import in_turn, number_of_calls
from harness.subjects.protocol import Shape
from harness.subjects.signals import make_signal
from harness.subjects.songs import STEMS, make_song

Array = npt.NDArray[np.float32]

FLOOR_SEED: Final = 46
"""Of the noise that a recipe puts under its signal."""
_SHORTEST_SONG_S: Final = 1.0
"""What can be composed; a shorter segment gets its beginning."""
_REST: Final = "other"
"""The source that holds what a subject has no source of its own for."""


def build_tensors(subject: Subject, case: Case) -> dict[str, npt.NDArray[Any]]:
    """Return all tensors of one golden, by name; shapes as in the module's docstring.

    Raises:
        ParityError: the case is no segment of this subject, or a file that it can't separate.
    """
    network = subject.network
    if case.kind == EXAMPLE:
        inputs = case_inputs(case, network)
        return inputs | observe_inputs(subject, inputs, taps=case.taps)
    signal, true_stems = case_signal(case, network)
    tensors: dict[str, npt.NDArray[Any]] = {"audio": signal} if network.sources else {}
    if case.is_file:
        with _deterministic():
            tensors["stems"] = separate_blocks(subject, [signal[0]])
    else:
        inputs = network_inputs(network, signal)
        tensors |= inputs | observe_inputs(subject, inputs, taps=case.taps)
    if true_stems is not None:
        tensors["true_stems"] = true_stems
    return tensors


def case_inputs(case: Case, network: Network) -> dict[str, npt.NDArray[Any]]:
    """Return the network's inputs for a case of one segment, as arrays.

    Raises:
        ParityError: the case is no segment of this network, or has a file that doesn't fit.
    """
    if case.kind == EXAMPLE:
        gain_db = float(case.parameters["gain_db"])
        if case.calls > 1 and not network.interface.states:
            raise ParityError(
                f"case {case.name!r} has {case.calls} calls, but {network.name} has no states: "
                "one call says as much; drop 'calls'"
            )
        made = network.example(case.seed or 0, gain_db=gain_db, file=case.file, calls=case.calls)
        return {name: tensor.numpy() for name, tensor in made.items()}
    return network_inputs(network, case_signal(case, network)[0])


def case_signal(case: Case, network: Network) -> tuple[Array, Array | None]:
    """Return the signal of a case for a network, and of a song its stems, as `make_audio` does.

    Raises:
        ParityError: the network takes no signals, or as `make_audio`.
    """
    if case.kind == EXAMPLE or len(network.signal_shape) != 3:
        raise ParityError(
            f"case {case.name!r} is of the kind {case.kind!r}, which is no input of {network.name}"
        )
    return make_audio(case, network.sources, network.signal_shape)


def network_inputs(network: Network, signal: Array) -> dict[str, npt.NDArray[Any]]:
    """Return the network's inputs for a signal [1, C, n], as arrays.

    Raises:
        ParityError: the signal is not exactly one segment.
    """
    if signal.shape != network.signal_shape:
        raise ParityError(
            f"the signal has shape {list(signal.shape)}, and one segment of {network.name} has "
            f"{list(network.signal_shape)}"
        )
    inputs = network.inputs_of(torch.from_numpy(signal))
    return {name: tensor.numpy() for name, tensor in inputs.items()}


def make_audio(
    case: Case, sources: tuple[str, ...], shape: Shape = PUBLISHED.audio_shape
) -> tuple[Array, Array | None]:
    """Return the signal of a case, float32 [1, C, length], and of a song its stems [S, C, length].

    A case of one published segment is one of ``shape`` [1, C, n], however long that is.
    A stem that is not among ``sources`` is part of ``other``. There are no stems of a song for
    sources that are no stems of a song, or that lack ``other``.

    Raises:
        ParityError: a parameter is out of range.
    """
    length = case.length
    if not case.is_file and length == PUBLISHED.segment_length:
        length = shape[-1]
    channels = [index % PUBLISHED.channels for index in range(shape[1])]
    if case.kind != SONG:
        audio = make_signal(case.kind, length, **case.parameters)
        if case.floor_db is not None:
            floor = make_signal("noise", length, level_db=case.floor_db, seed=FLOOR_SEED)
            audio = np.clip(audio + floor, -1.0, 1.0)
        return audio[np.newaxis, channels], None
    song = make_song(int(case.parameters["seed"]), max(length / SAMPLE_RATE, _SHORTEST_SONG_S))
    mixture, stems = song.mixture[channels, :length], _stems_of(song.stems, sources)
    return mixture[np.newaxis], None if stems is None else stems[:, channels, :length]


def _stems_of(stems: Array, sources: tuple[str, ...]) -> Array | None:
    if set(sources) - set(STEMS) or _REST not in sources:
        return None
    result = np.zeros((len(sources), *stems.shape[1:]), np.float64)
    for stem, samples in zip(STEMS, stems, strict=True):
        result[sources.index(stem if stem in sources else _REST)] += samples
    return result.astype(np.float32)


def observe_segment(subject: Subject, audio: Array, *, taps: bool) -> dict[str, npt.NDArray[Any]]:
    """Run the original on a signal [1, C, n] here and now; a golden's tensors but the signals.

    What is compared bit by bit, or nearly, must be compared within one process: the order in which
    PyTorch sums depends on its threads and on the processor.

    Raises:
        ParityError: ``audio`` is not exactly one segment of this subject.
    """
    return observe_inputs(subject, network_inputs(subject.network, audio), taps=taps)


def observe_inputs(
    subject: Subject, inputs: Mapping[str, npt.NDArray[Any]], *, taps: bool
) -> dict[str, npt.NDArray[Any]]:
    """Run the original as `observe_segment` does, on the network's inputs of one or more calls."""
    network, models = subject.network, subject.models
    given = {name: torch.from_numpy(array) for name, array in inputs.items()}

    def call(inputs: Mapping[str, torch.Tensor], number: int) -> Mapping[str, torch.Tensor]:
        return network.observe(models, inputs, taps=taps and number == 1)

    with _deterministic():
        once = number_of_calls(given) == 1
        made = call(given, 1) if once else in_turn(network.interface, given, call)
    return {name: tensor.numpy() for name, tensor in made.items()}


def call_once_each(network: Network, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Make every call of a case once, so that what a later one can't take is known.

    Raises:
        DeclarationError: a call doesn't take what it is given.
    """
    models = [network.build()]
    given = {name: torch.from_numpy(array) for name, array in inputs.items()}
    in_turn(network.interface, given, lambda one, _: network.observe(models, one, taps=False))


def separate_blocks(subject: Subject, blocks: Iterable[Array]) -> Array:
    """Return the original's stems [S, C, n] of a signal that arrives in blocks [C, m]."""

    def predict(segment: Array) -> Array:
        stems: Array = separate_segment(subject, torch.from_numpy(segment)).numpy()
        return stems

    return np.concatenate(list(separate_stream(blocks, predict, **subject.geometry.cuts)), axis=-1)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Let PyTorch refuse what can give other bits the next time."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
