"""The registry of faults: one decorated function is one known bug.

::

    @fault("stft.window-symmetric", on="transform", caught_by="stft", source=PORTS)
    def symmetric_window(port: Port) -> Port:
        \"\"\"The Hann window is symmetric, as np.hanning makes it, not periodic.\"\"\"
        return replace(port, window=hann(N_FFT, symmetric=True))

The docstring is the bug, in one sentence. What the function gets and returns is said by the stand
that it is judged on (`harness.faults.judges`). It never changes what it gets: it returns another.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

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
        on: name of the stand that judges it.
        caught_by: the layer or mechanism that has to notice it.
        source: where it was seen.
        inject: makes the wrong thing of the right one.
        case: golden case on which it shows.
        sample: whether it is part of every run; the others are injected by ``parity faults``.
    """

    name: str
    bug: str
    on: str
    caught_by: str
    source: str
    inject: Callable[..., Any]
    case: str = "song"
    sample: bool = False

    @property
    def level(self) -> str:
        """Where in the conversion the bug lives."""
        return self.name.partition(".")[0]


_FAULTS: dict[str, Fault] = {}
_Inject = TypeVar("_Inject", bound=Callable[..., Any])


def fault(
    name: str, *, on: str, caught_by: str, source: str, case: str = "song", sample: bool = False
) -> Callable[[_Inject], _Inject]:
    """Register the decorated function as the injection of a bug; its docstring says which.

    Raises:
        ParityError: the name is taken, is of no level, or the bug isn't described.
    """

    def register(inject: _Inject) -> _Inject:
        bug = " ".join((inject.__doc__ or "").split())
        found = Fault(name, bug, on, caught_by, source, inject, case, sample)
        if name in _FAULTS:
            raise ParityError(f"fault {name!r} is registered twice")
        if found.level not in LEVELS or "." not in name:
            raise ParityError(f"fault {name!r} must be named LEVEL.what: {', '.join(LEVELS)}")
        if not bug:
            raise ParityError(f"fault {name!r} must say what its bug is in its docstring")
        _FAULTS[name] = found
        return inject

    return register


def all_faults() -> tuple[Fault, ...]:
    """Return every fault, by level and then in the order of registration."""
    import harness.faults.catalogue  # noqa: F401  (registers them)

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
