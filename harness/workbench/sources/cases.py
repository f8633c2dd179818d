"""What the lab calls cases: golden ones of one segment, songs of any seed, single calls of several.

``noise`` is a golden case, ``song:7`` the song of seed 7, and ``sequence:3`` the third call of a
case of several, with what the calls before it left in the original's states.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy.typing as npt

from harness.audio.contract import SEGMENT_LENGTH
from harness.errors import ParityError, UnknownNameError
from harness.golden import Case, load_cases
from harness.golden.builder import case_inputs, observe_inputs
from harness.golden.layout import Layout
from harness.golden.recipes import EXAMPLE
from harness.subjects import describe_subject, load_subject
from harness.subjects.calls import call_of, first_call, of_call
from harness.subjects.protocol import state_output

SONG_PREFIX: Final = "song:"


def find_cases(names: Sequence[str], golden_root: Path) -> dict[str, Case]:
    """Return cases by name; no signal is made.

    Args:
        names: golden cases of one segment, ``song:SEED`` for any other song, or ``CASE:K`` for
            call K of a case of several; CASE alone is the last.
        golden_root: the folder with ``recipes.toml``.

    Raises:
        UnknownNameError: no such case.
        ParityError: a case is an audio file of several segments, or has no such call.
    """
    known = load_cases(Layout(golden_root).recipes)
    return {name: _case(name, known) for name in names}


def _case(name: str, cases: dict[str, Case]) -> Case:
    sequence, _, call = name.partition(":")
    if call.isdecimal() and sequence in cases and cases[sequence].calls > 1:
        found = cases[sequence]
        if not 1 <= int(call) <= found.calls:
            raise ParityError(
                f"case {sequence!r} has {found.calls} calls, and no call {call}; expected "
                f"{sequence}:1 to {sequence}:{found.calls}"
            )
        return found
    if name.startswith(SONG_PREFIX) and name.removeprefix(SONG_PREFIX).isdecimal():
        seed = int(name.removeprefix(SONG_PREFIX))
        parameters = MappingProxyType({"seed": seed})
        return Case(name, "song", parameters, "a song of the lab", SEGMENT_LENGTH)
    if name not in cases:
        signals = any(case.kind != EXAMPLE for case in cases.values())
        raise UnknownNameError("case", name, [*cases, *([f"{SONG_PREFIX}7"] if signals else [])])
    if cases[name].is_file:
        raise ParityError(f"case {name!r} is an audio file of several segments; the lab takes one")
    return cases[name]


def call_in(name: str, case: Case) -> int:
    """Return which call of a case somebody means by its name: where none is said, the last."""
    return int(name.partition(":")[2] or case.calls) if case.calls > 1 else 1


def call_inputs(subject: str, case: Case, call: int) -> dict[str, npt.NDArray[Any]]:
    """Return the network's inputs for one call of a case, as arrays.

    Raises:
        ParityError: as `harness.golden.builder.case_inputs`, or the original can't be loaded.
    """
    network = describe_subject(subject)
    inputs, interface = case_inputs(case, network), network.interface
    if call == 1:
        return first_call(inputs)
    before = {name: array for name, array in inputs.items() if call_of(name)[0] < call}
    made = observe_inputs(load_subject(subject), before, taps=False)
    held = {name: made[of_call(state_output(name), call - 1)] for name in interface.states}
    return {name: inputs[of_call(name, call)] for name in interface.arguments} | held
