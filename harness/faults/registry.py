"""The registry of faults: one decorated function, or one row, is one known bug.

::

    _stems = partial(fault, judge="stems", caught_by="end_to_end")

    @_stems("stems.silence", source=TOOLS)
    def _silence(stems: np.ndarray) -> np.ndarray:
        \"\"\"The quietest stem is replaced by silence.\"\"\"
        stems[np.argmin(np.square(stems).mean(axis=(1, 2)))] = 0
        return stems

    _stems("stems.rotated", source=CONVERSIONS)(
        lambda stems: np.roll(stems, 1, axis=0),
        "The last source comes first.",
    )

The docstring is the bug, in one sentence; an injection that is one expression stands beside it.
What an injection gets and returns is said by its judge (`harness.faults.judges`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from harness.errors import ParityError, UnknownNameError

LEVELS: Final = {
    "weights": "weights and their loading",
    "surgery": "the network cut out of its STFT",
    "stft": "the transform and its inverse, in a port",
    "operations": "the executor's own operations",
    "program": "the converted program",
    "precision": "the precision that is declared or computed with",
    "segments": "segments, padding and crossfade",
    "stems": "stems and channels on their way out",
    "goldens": "the expected tensors",
    "metrics": "the numbers that judge",
    "harness": "the harness around the checks",
}
"""Where a bug can live, from the bottom to the top, with what it means."""

CONVERSIONS: Final = "seen in published conversions of HTDemucs"
PORTS: Final = "seen in published ports of the STFT to other languages"
MIXED_PACKAGE: Final = "seen in a published package that documents mixed precision"
QUIET_MODELS: Final = "seen in shipped audio models: green on loud audio, 17 to 25 dB on quiet"
MEASURED: Final = "measured to pass 60 dB and 1e-3/1e-4 on a trained network"
TOOLS: Final = "seen in published evaluation tools"
OWN: Final = "a way in which this harness itself could go blind"
CLASSIC: Final = "a classic of converters and of hand-written kernels"


@dataclass(frozen=True)
class Fault:
    """A known bug.

    Attributes:
        name: ``LEVEL.what``.
        bug: what the wrong implementation does, in one sentence.
        judge: name of the judge that looks for it; see `harness.faults.judges`.
        caught_by: the layer or mechanism that has to notice it.
        source: where it was seen.
        inject: makes the wrong thing of the right one.
        case: golden case on which it shows.
        sample: whether it is part of every run; the others are injected by ``parity faults``.
    """

    name: str
    bug: str
    judge: str
    caught_by: str
    source: str
    inject: Callable[..., Any]
    case: str = "song"
    sample: bool = False

    @property
    def level(self) -> str:
        """Where in the conversion the bug lives."""
        return self.name.partition(".")[0]

    @property
    def control(self) -> Fault:
        """The same with nothing injected: its judge must find the sound candidate sound."""
        return replace(self, name=NOTHING, inject=lambda candidate: candidate)


NOTHING: Final = "none"
"""Name of a fault that injects nothing."""

_FAULTS: dict[str, Fault] = {}
_Inject = TypeVar("_Inject", bound=Callable[..., Any])


class _Registrar(Protocol):
    """Takes an injection, as a decorator or as a row with the bug in a sentence."""

    def __call__(self, inject: _Inject, bug: str = "") -> _Inject: ...


def fault(
    name: str, *, judge: str, caught_by: str, source: str, case: str = "song", sample: bool = False
) -> _Registrar:
    """Register an injection of a bug, which its docstring says, or the text that is given with it.

    Raises:
        ParityError: the name is taken, is of no level, or the bug isn't described.
    """

    def register(inject: _Inject, bug: str = "") -> _Inject:
        said = " ".join((bug or inject.__doc__ or "").split())
        _register(Fault(name, said, judge, caught_by, source, inject, case, sample))
        return inject

    return register


def fields(**values: Any) -> Callable[[Any], Any]:
    """Return an injection that gives some fields of a frozen dataclass other values."""
    return lambda candidate: replace(candidate, **values)


def _register(found: Fault) -> None:
    if found.name in _FAULTS:
        raise ParityError(f"fault {found.name!r} is registered twice")
    if found.level not in LEVELS or "." not in found.name:
        raise ParityError(f"fault {found.name!r} must be named LEVEL.what: {', '.join(LEVELS)}")
    if not found.bug:
        raise ParityError(
            f"fault {found.name!r} must say what its bug is, in its docstring or beside it"
        )
    _FAULTS[found.name] = found


def all_faults() -> tuple[Fault, ...]:
    """Return every fault, by level and then in the order of registration."""
    levels = list(LEVELS)
    return tuple(sorted(_FAULTS.values(), key=lambda item: levels.index(item.level)))


def get_fault(name: str) -> Fault:
    """Return the fault called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    known = {item.name: item for item in all_faults()}
    if name not in known:
        raise UnknownNameError("fault", name, known)
    return known[name]


def select_faults(
    *, levels: tuple[str, ...] = (), patterns: tuple[str, ...] = (), sample: bool = False
) -> tuple[Fault, ...]:
    """Return the faults of any of ``levels`` that fit any of ``patterns`` (``*``, ``?``, ``[]``).

    Args:
        levels: all by default.
        patterns: of names; all by default.
        sample: only those that are part of every run.

    Raises:
        UnknownNameError: a level that doesn't exist, or a pattern that fits nothing.
    """
    for level in levels:
        if level not in LEVELS:
            raise UnknownNameError("level", level, LEVELS)
    known = all_faults()
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(item.name, pattern) for item in known):
            raise UnknownNameError("fault", pattern, [item.name for item in known])
    return tuple(
        item
        for item in known
        if (not levels or item.level in levels)
        and (not patterns or any(fnmatch.fnmatchcase(item.name, p) for p in patterns))
        and (item.sample or not sample)
    )
