"""Simple test signals, made of a name, a length and a few numbers.

Every signal is stereo, float32 [2, length] (left, right), at 44.1 kHz, with 1.0 as full scale. It
is computed in float64 and rounded once, so the same recipe gives the same bits wherever the
elementary functions of the platform agree to float32. The two channels differ, so that exchanged
ones show (except in ``silence`` and ``dc``, where that can't be).

A new signal is one decorated function in this module::

    @signal
    def buzz(length: int, *, frequency_hz: float = 100.0) -> Samples: ...
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from harness.audio.contract import SAMPLE_RATE
from harness.errors import ParityError, require_known

Samples: TypeAlias = npt.NDArray[np.float64]
_NYQUIST_HZ: Final = SAMPLE_RATE / 2

_registry: dict[str, Callable[..., Samples]] = {}
SIGNALS: Final[Mapping[str, Callable[..., Samples]]] = MappingProxyType(_registry)
"""Functions that make the signals, by kind; `make_signal` calls them."""


def signal(function: Callable[..., Samples]) -> Callable[..., Samples]:
    """Register ``function`` as the signal of its name.

    It takes the length and keyword parameters with defaults, and returns float64 [2, length].
    """
    if function.__name__ in _registry:
        raise ValueError(f"there is a signal {function.__name__!r} already")
    _registry[function.__name__] = function
    return function


def make_signal(kind: str, length: int, **parameters: float) -> npt.NDArray[np.float32]:
    """Return the signal ``kind`` of ``length`` samples, float32 [2, length].

    Args:
        kind: a key of `SIGNALS`.
        length: in samples, at least 1.
        parameters: those of the signal's function; each has a default.

    Raises:
        UnknownNameError: no such kind, or no such parameter of this kind.
        ParityError: a length or parameter that is no number of the right kind, or out of range.
    """
    require_known("signal", SIGNALS, kind)
    function = SIGNALS[kind]
    _check_whole("length", length, at_least=1)
    known = inspect.signature(function, eval_str=True).parameters
    for name, value in parameters.items():
        require_known(f"parameter of signal {kind!r}", known.keys() - {"length"}, name)
        if known[name].annotation is int:
            _check_whole(name, value, at_least=0)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ParityError(f"{name}={value!r} of signal {kind!r} is no number")
        elif not math.isfinite(value):
            raise ParityError(f"{name}={value} of signal {kind!r} is not finite")
    return function(length, **parameters).astype(np.float32)


@signal
def silence(length: int) -> Samples:
    """Return zeros."""
    return np.zeros((2, length))


@signal
def sine(length: int, *, frequency_hz: float = 440.0, amplitude: float = 0.5) -> Samples:
    """Return a sine; the right channel is 0.1 rad ahead."""
    _check_range("frequency_hz", frequency_hz, 0.0, _NYQUIST_HZ)
    _check_range("amplitude", amplitude, 0.0, 1.0)
    phase = 2 * math.pi * frequency_hz / SAMPLE_RATE * np.arange(length)
    return amplitude * np.sin(np.stack([phase, phase + 0.1]))


@signal
def noise(length: int, *, level_db: float = -20.0, seed: int = 42) -> Samples:
    """Return white Gaussian noise of an expected RMS of ``level_db`` dBFS, two channels apart."""
    _check_range("level_db", level_db, -200.0, 0.0)
    generator = np.random.Generator(np.random.PCG64(seed))
    return 10 ** (level_db / 20) * generator.standard_normal((2, length))


@signal
def chirp(
    length: int, *, start_hz: float = 20.0, stop_hz: float = 20_000.0, amplitude: float = 0.5
) -> Samples:
    """Return a sweep whose pitch rises evenly; the right channel runs backwards."""
    _check_range("start_hz", start_hz, 1.0, _NYQUIST_HZ)
    _check_range("stop_hz", stop_hz, 1.0, _NYQUIST_HZ)
    _check_range("amplitude", amplitude, 0.0, 1.0)
    if start_hz >= stop_hz:
        raise ParityError(f"start_hz={start_hz} must be below stop_hz={stop_hz}")
    growth = math.log(stop_hz / start_hz)
    duration_s = length / SAMPLE_RATE
    progress = np.arange(length) / length
    phase = 2 * math.pi * start_hz * duration_s / growth * np.expm1(growth * progress)
    sweep = amplitude * np.sin(phase)
    return np.stack([sweep, sweep[::-1]])


@signal
def impulse(length: int, *, position: int = 0, amplitude: float = 1.0) -> Samples:
    """Return one sample at ``position``, half as large on the right."""
    _check_range("amplitude", amplitude, 0.0, 1.0)
    if position >= length:
        raise ParityError(f"position={position} is behind the last of {length} samples")
    samples = np.zeros((2, length))
    samples[:, position] = amplitude, amplitude / 2
    return samples


@signal
def quiet(length: int, *, level_db: float = -60.0, seed: int = 43) -> Samples:
    """Return white noise just above what a listener hears; epsilons show here."""
    return noise(length, level_db=level_db, seed=seed)


@signal
def hot(length: int, *, gain_db: float = 12.0, seed: int = 44) -> Samples:
    """Return white noise at 0 dBFS, driven by ``gain_db`` into hard clipping at full scale."""
    _check_range("gain_db", gain_db, 0.0, 60.0)
    driven = 10 ** (gain_db / 20) * noise(length, level_db=0.0, seed=seed)
    return np.clip(driven, -1.0, 1.0)


@signal
def antiphase(length: int, *, level_db: float = -20.0, seed: int = 45) -> Samples:
    """Return white noise whose right channel is the left one inverted: silent in mono."""
    left = noise(length, level_db=level_db, seed=seed)[0]
    return np.stack([left, -left])


@signal
def dc(length: int, *, level: float = 0.25) -> Samples:
    """Return a constant: its standard deviation is zero, which is what it tests."""
    _check_range("level", level, -1.0, 1.0)
    return np.full((2, length), level)


def _check_whole(name: str, value: Any, *, at_least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise ParityError(f"{name}={value!r} must be a whole number of at least {at_least}")


def _check_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ParityError(f"{name}={value} is outside {lowest} to {highest}")
