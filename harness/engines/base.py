"""What an engine is: something that executes a candidate and says honestly whether it can.

An engine is one decorated class; whoever runs engines learns from it which candidates it takes::

    @engine
    class MineEngine:
        name = "mine"
        executes = "package"          # a path; or "subject", a `harness.subjects.Subject`
        numerics = ()                 # the modes that it can be asked for; none: it has its own
        emulates = False              # whether it stands for a device that it is not
        gives_taps = False            # whether it shows inner values

        def availability(self) -> Availability: ...
        def open(self, candidate: Path, *, numerics: str) -> Session: ...

A session takes the network's inputs and returns its outputs and the requested taps, arrays by name
(`harness.subjects.Network` says which, and their shapes).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np

from harness.errors import EngineUnavailableError, ParityError, UnknownNameError
from harness.plugins import load_plugins

if TYPE_CHECKING:
    from harness.subjects import Subject

WITHOUT_ENGINES = "PARITY_WITHOUT_ENGINES"
"""Environment variable: names of engines, separated by commas, that are to count as missing; shows
what a machine without them would answer."""

Executes = Literal["subject", "package"]


@dataclass(frozen=True)
class Availability:
    """Whether an engine can execute here; ``reason`` says why, or why not."""

    available: bool
    reason: str
    version: str = ""


class Session(Protocol):
    """A candidate that is loaded and ready."""

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Execute once; returns the outputs and the taps, by name."""
        ...


class Engine(Protocol):
    """A way to execute a candidate.

    Attributes:
        name: as on the command line and in checks.
        executes: what `open` takes: a subject, or the path of a package.
        numerics: the ways of computing that it can be asked for; empty if it has only its own.
        emulates: whether what it computes stands for a device that is not here.
        gives_taps: whether its sessions show inner values.
    """

    name: str
    executes: Executes
    numerics: tuple[str, ...]
    emulates: bool
    gives_taps: bool

    def availability(self) -> Availability:
        """Say whether this engine can execute here, and why."""
        ...

    def open(self, candidate: Any, *, numerics: str) -> Session:
        """Load a candidate: a `Subject`, or the path of a package, as `executes` says."""
        ...


_ENGINES: dict[str, Engine] = {}

EngineClass = TypeVar("EngineClass", bound=Callable[[], Any])


def engine(cls: EngineClass) -> EngineClass:
    """Register an engine class; the one place that makes an engine known.

    Raises:
        ParityError: it lacks something that `Engine` has, or its name is taken.
    """
    wanted = (*Engine.__annotations__, "availability", "open")
    lacking = [name for name in wanted if not hasattr(cls, name)]
    if lacking:
        raise ParityError(f"{cls!r} is no engine: it lacks {', '.join(lacking)}")
    instance = cls()
    if instance.name in _ENGINES:
        raise ParityError(f"engine {instance.name!r} is registered twice")
    _ENGINES[instance.name] = instance
    return cls


def engine_names(executes: Executes | None = None) -> tuple[str, ...]:
    """Return the names of all engines, or of those for one kind of candidate, available or not."""
    load_plugins()
    return tuple(name for name, one in _ENGINES.items() if executes in (None, one.executes))


def find_engine(name: str) -> Engine:
    """Return the engine called ``name``.

    Raises:
        UnknownNameError: there is no such engine.
    """
    if name not in engine_names():
        raise UnknownNameError("engine", name, _ENGINES)
    return _ENGINES[name]


def availability(name: str) -> Availability:
    """Say whether the engine called ``name`` can execute here, and why.

    Raises:
        UnknownNameError: there is no such engine.
    """
    found = find_engine(name)
    hidden = {word.strip() for word in os.environ.get(WITHOUT_ENGINES, "").split(",")}
    if name in hidden:
        return Availability(False, f"hidden by {WITHOUT_ENGINES}")
    return found.availability()


def open_engine(name: str, candidate: Subject | Path, *, numerics: str = "storage") -> Session:
    """Load a candidate into the engine called ``name``.

    Args:
        name: of the engine.
        candidate: what it executes: a subject of one model, or the path of a package.
        numerics: how it computes, where it can be asked.

    Raises:
        UnknownNameError: there is no such engine, or it knows no such numerics.
        EngineUnavailableError: it can't execute on this machine.
        ParityError: it executes another kind of candidate.
    """
    found, state = find_engine(name), availability(name)
    if not state.available:
        raise EngineUnavailableError(f"engine {name!r} can't execute here: {state.reason}")
    given: Executes = "package" if isinstance(candidate, Path) else "subject"
    if given != found.executes:
        raise ParityError(f"engine {name!r} executes a {found.executes}, not a {given}")
    if found.numerics and numerics not in found.numerics:
        raise UnknownNameError(f"numerics of engine {name!r}", numerics, found.numerics)
    return found.open(candidate, numerics=numerics)
