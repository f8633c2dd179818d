"""What an engine is: something that executes a candidate and says honestly whether it can.

A session takes ``spectrogram`` float32 [1, 4, 2048, 336] and ``audio`` float32 [1, 2, 343980] and
returns ``freq`` float32 [1, S, 4, 2048, 336], ``time`` float32 [1, S, 2, 343980] and the requested
taps, by name. Sizes follow the model; these are those of the published ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from harness.errors import EngineUnavailableError, UnknownNameError

if TYPE_CHECKING:
    from harness.subjects import Subject

WITHOUT_ENGINES = "PARITY_WITHOUT_ENGINES"
"""Environment variable: names of engines, separated by commas, that are to count as missing; shows
what a machine without them would answer."""


@dataclass(frozen=True)
class Availability:
    """Whether an engine can execute here; ``reason`` says why, or why not."""

    available: bool
    reason: str
    version: str = ""


@dataclass(frozen=True)
class Candidate:
    """What is executed: a subject (by ``torch``) or a package on disk (by ``mil``, ``coreml``)."""

    subject: Subject | None = None
    package: Path | None = None


class Session(Protocol):
    """A candidate that is loaded and ready."""

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Execute once; returns the outputs and the taps, by name."""
        ...


class Engine(Protocol):
    """A way to execute a candidate."""

    name: str

    def availability(self) -> Availability:
        """Say whether this engine can execute here, and why."""
        ...

    def open(self, candidate: Candidate, *, numerics: str) -> Session:
        """Load a candidate."""
        ...


_ENGINES: dict[str, Engine] = {}

EngineClass = TypeVar("EngineClass", bound=Callable[[], Engine])


def engine(cls: EngineClass) -> EngineClass:
    """Register an engine class; the one place that makes an engine known."""
    instance = cls()
    if instance.name in _ENGINES:
        raise ValueError(f"engine {instance.name!r} is registered twice")
    _ENGINES[instance.name] = instance
    return cls


def engine_names() -> tuple[str, ...]:
    """Return the names of all engines, whether or not they can execute here."""
    return tuple(_ENGINES)


def availability(name: str) -> Availability:
    """Say whether the engine called ``name`` can execute here, and why.

    Raises:
        UnknownNameError: there is no such engine.
    """
    if name not in _ENGINES:
        raise UnknownNameError("engine", name, _ENGINES)
    hidden = {word.strip() for word in os.environ.get(WITHOUT_ENGINES, "").split(",")}
    if name in hidden:
        return Availability(False, f"hidden by {WITHOUT_ENGINES}")
    return _ENGINES[name].availability()


def open_engine(name: str, candidate: Candidate, *, numerics: str = "storage") -> Session:
    """Load a candidate into the engine called ``name``.

    Raises:
        UnknownNameError: there is no such engine.
        EngineUnavailableError: it can't execute on this machine.
    """
    state = availability(name)
    if not state.available:
        raise EngineUnavailableError(f"engine {name!r} can't execute here: {state.reason}")
    return _ENGINES[name].open(candidate, numerics=numerics)
