"""What a run evaluates unless it is told otherwise, and what this machine has for it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.engines import availability, engine_names
from harness.verdicts import EngineState, Profile

GOLDEN_ROOT: Final = Path("golden")
"""The folder with ``recipes.toml``, from the root of the repository."""

DEFAULT: Final = Profile(
    name="parity",
    engines=("torch", "mil"),
    subjects=("htdemucs_6s@seeded",),
    recipes=("fp32", "fp16", "mixed"),
)


def engine_states() -> tuple[EngineState, ...]:
    """Return what each engine says of itself on this machine."""
    states = []
    for name in engine_names():
        state = availability(name)
        states.append(EngineState(name, state.available, state.reason, state.version))
    return tuple(states)
