"""Looking inside HTDemucs while it runs: the same named tensors in the original and after surgery.

A tap is a tensor between two steps of the network, float32, batch first. Its name says which step
produced it, and is the same in ``demucs.htdemucs.HTDemucs`` and in `FullHybridHTDemucs`, so two
implementations can be compared step by step. In the order of computation:

=================================================  ================================================
``norm.freq``, ``norm.time``                       normalised input of each branch
``tencoder.N``, ``encoder.N``                      each encoder stage
``freq_emb``                                       frequency branch after the embedding was added
``channel_upsampler``, ``channel_upsampler_t``     on the way into the cross-transformer
``crosstransformer.norm_in``, ``....norm_in_t``    its input norms, before positions are added
``crosstransformer.layers.N``, ``....layers_t.N``  each of its layers, [1, tokens, channels]
``channel_downsampler``, ``channel_downsampler_t`` on the way out
``decoder.N``, ``tdecoder.N``                      each decoder stage (its result, not its skip)
``freq``, ``time``                                 the outputs of the model contract
=================================================  ================================================

The original is observed while it runs. Nothing that it computes inside is recomputed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import ParityError, require_known
from harness.subjects.protocol import detached, recorded_outputs
from harness.subjects.structure import names_of, require_supported
from harness.subjects.surgery import FullHybridHTDemucs


@dataclass(frozen=True)
class OriginalOutputs:
    """Everything that one forward pass of the original HTDemucs yields.

    Attributes:
        spectrogram: [1, 2C, bins, frames], the STFT that the original computed from the mixture.
        freq: [1, S, 2C, bins, frames], what goes into its inverse STFT.
        time: [1, S, C, samples], what is added to the result of the inverse STFT.
        stems: [1, S, C, samples], the result of its forward.
        taps: the taps that were asked for, in the order of computation.
    """

    spectrogram: Tensor
    freq: Tensor
    time: Tensor
    stems: Tensor
    taps: dict[str, Tensor]


def tap_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of all taps of ``model`` (original or extracted) in order of computation.

    Raises:
        ParityError: ``model`` is neither `FullHybridHTDemucs` nor an HTDemucs that can become one.
    """
    if not isinstance(model, FullHybridHTDemucs):
        require_supported(model)
    return names_of(model)


def run_original(
    model: nn.Module, mix: Tensor, *, taps: Iterable[str] | None = ()
) -> OriginalOutputs:
    """Run the original HTDemucs once on ``mix`` [1, C, samples] and return all that it yields.

    Args:
        model: an HTDemucs in eval mode.
        mix: one whole segment, float32.
        taps: names of the taps to keep, or None for all.

    Raises:
        UnknownNameError: a name that `tap_names` doesn't list.
        ParityError: ``mix`` is not exactly one segment, or the model can't be tapped.
    """
    wanted = _check_names(model, taps)
    _check_mix(model, mix)
    seen: dict[str, Tensor] = {}

    def keep_result(name: str) -> Callable[..., Any]:
        def wrap(method: Callable[..., Tensor], *args: Any) -> Tensor:
            seen[name] = method(*args)
            return seen[name]

        return wrap

    def keep_freq(method: Callable[..., Tensor], z: Tensor, freq: Tensor) -> Tensor:
        seen["freq"] = freq
        return method(z, freq)

    def withhold_waveform(method: Callable[..., Tensor], *args: Any) -> Tensor:
        # forward() ends with `time + waveform`. Adding -0.0 changes no bit, not even the sign of a
        # zero, so with this in the place of the waveform forward() returns its time branch.
        seen["waveform"] = method(*args)
        return torch.full_like(seen["waveform"], -0.0)

    with ExitStack() as stack:
        stack.enter_context(_wrapped(model, "_magnitude", keep_result("spectrogram")))
        stack.enter_context(_wrapped(model, "_mask", keep_freq))
        stack.enter_context(_wrapped(model, "_ispec", withhold_waveform))
        kept = stack.enter_context(_recorded(model, wanted))
        stack.enter_context(torch.no_grad())
        time = model(mix)
        stems = time + seen["waveform"]

    kept |= {"freq": detached(seen["freq"]), "time": detached(time)}
    return OriginalOutputs(
        spectrogram=seen["spectrogram"].detach(),
        freq=kept["freq"],
        time=kept["time"],
        stems=stems.detach(),
        taps={name: kept[name] for name in wanted},
    )


def _check_names(model: nn.Module, names: Iterable[str] | None) -> tuple[str, ...]:
    known = tap_names(model)
    if names is None:
        return known
    wanted = set(names)
    require_known("tap", known, *sorted(wanted))
    return tuple(name for name in known if name in wanted)


def _check_mix(model: Any, mix: Tensor) -> None:
    expected = (1, model.audio_channels, int(model.segment * model.samplerate))
    if tuple(mix.shape) != expected:
        raise ParityError(
            f"mix has shape {list(mix.shape)}, expected {list(expected)}: "
            "pass one whole segment (pad a shorter one with zeros)"
        )


@contextmanager
def _wrapped(model: nn.Module, name: str, wrapper: Callable[..., Any]) -> Iterator[None]:
    """Let ``wrapper(method, *args)`` answer for a method of this one object, until the end."""
    own = vars(model).get(name)
    method = getattr(model, name)
    setattr(model, name, lambda *args: wrapper(method, *args))
    try:
        yield
    finally:
        delattr(model, name)
        if own is not None:
            setattr(model, name, own)


@contextmanager
def _recorded(model: Any, names: Iterable[str]) -> Iterator[dict[str, Tensor]]:
    """Record the taps that modules of the original see, by hooks that are gone at the end."""
    # What the original computes between its modules shows as the input of the next one.
    between = {
        "norm.freq": (model.encoder[0], 0),
        "norm.time": (model.tencoder[0], 0),
        "freq_emb": (model.decoder[-1], 1),
    }
    wanted = [name for name in names if name not in ("freq", "time")]
    paths = {name: name for name in wanted if name not in between}

    def keep_input(name: str, position: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
            taps[name] = detached(args[position])

        return hook

    with ExitStack() as stack:
        taps = stack.enter_context(recorded_outputs(model, paths))
        for name in wanted:
            if name in between:
                module, position = between[name]
                handle = module.register_forward_pre_hook(keep_input(name, position))
                stack.callback(handle.remove)
        yield taps
