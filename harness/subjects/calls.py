"""Several calls of a network with states, one after the other: each begins with what the last left.

In: the inputs of all calls by name. Those of the first have the network's names, states among them;
the arguments of call 3 are called ``call.3.NAME``. Out: what each call makes, named likewise. A
network is asked for one call at a time and knows nothing of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from harness.subjects.protocol import Interface, state_output

Value = TypeVar("Value")

_PREFIX = "call."


def of_call(name: str, call: int) -> str:
    """Return what an input or output is called in a call, the first of which is 1."""
    return name if call == 1 else f"{_PREFIX}{call}.{name}"


def call_of(name: str) -> tuple[int, str]:
    """Return the call that a tensor is of, and its name there: the inverse of `of_call`."""
    if not name.startswith(_PREFIX):
        return 1, name
    call, _, rest = name.removeprefix(_PREFIX).partition(".")
    return int(call), rest


def number_of_calls(names: Iterable[str]) -> int:
    """Return how many calls inputs are for."""
    return max((call_of(name)[0] for name in names), default=1)


def first_call(inputs: Mapping[str, Value]) -> dict[str, Value]:
    """Return the inputs of the first call alone."""
    return {name: value for name, value in inputs.items() if not name.startswith(_PREFIX)}


def in_turn(
    interface: Interface,
    inputs: Mapping[str, Value],
    run: Callable[[Mapping[str, Value], int], Mapping[str, Value]],
) -> dict[str, Value]:
    """Return what all calls make, each with the states that the one before it left.

    Args:
        interface: of the network.
        inputs: of all calls.
        run: makes one call, of its inputs and its number.
    """
    made: dict[str, Value] = {}
    held = {name: inputs[name] for name in interface.states}
    for call in range(1, number_of_calls(inputs) + 1):
        given = {name: inputs[of_call(name, call)] for name in interface.arguments}
        found = run(given | held, call)
        held = {name: found[state_output(name)] for name in interface.states}
        made |= {of_call(name, call): value for name, value in found.items()}
    return made
