"""Find the taps of a network in its converted program.

A tap is the output of a PyTorch module. In the program it is the value that is made inside that
module, read outside of it, and shaped like the tap. Conversion may have merged the module's last
transpose with the next module's first one; then the value exists in another layout, and the tap is
``numpy.transpose(value, permutation)``.

A tap that fits no value, or more than one, is missing, with the reason. It is never guessed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TapSource:
    """Where a tap comes from: the path of the module whose output it is, and its shape."""

    module: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class TapOperation:
    """One operation of a program, as far as taps are concerned.

    Attributes:
        type: MIL operation type.
        module: path of its PyTorch module; None where it isn't known.
        inputs: names of the values that it reads.
        outputs: name and shape of each value that it makes.
    """

    type: str
    module: str | None
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class TapLocation:
    """Where a tap is in a program.

    Attributes:
        output: name of the value.
        permutation: the tap is the value with its axes in this order; None if it is the value.
    """

    output: str
    permutation: tuple[int, ...] | None = None

    def in_torch_layout(self, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the tap, contiguous, of the value that the program makes."""
        if self.permutation is None:
            return value
        return np.ascontiguousarray(np.transpose(value, self.permutation))


@dataclass(frozen=True)
class TapMapping:
    """The taps that were found, and for each of the others the reason why not."""

    found: Mapping[str, TapLocation]
    missing: Mapping[str, str]


def find_taps(
    nodes: Sequence[TapOperation], outputs: Iterable[str], taps: Mapping[str, TapSource]
) -> TapMapping:
    """Find ``taps`` among the values of a program.

    Args:
        nodes: the operations in program order.
        outputs: names of the values that the program returns.
        taps: where each tap comes from.
    """
    readers = _readers(nodes)
    returned = set(outputs)
    returned |= {node.inputs[0] for node in nodes if node.type == "cast" and _made(node) & returned}
    found: dict[str, TapLocation] = {}
    missing: dict[str, str] = {}
    for name, source in taps.items():
        leaving = [
            (output, shape)
            for node in nodes
            if node.type != "cast" and _is_inside(node.module, source.module)
            for output, shape in node.outputs
            if output in returned
            or any(not _is_inside(module, source.module) for module in readers.get(output, ()))
        ]
        location = _locate(leaving, source.shape)
        if isinstance(location, TapLocation):
            found[name] = location
        else:
            missing[name] = f"module {source.module}: {location}"
    return TapMapping(found, missing)


def _locate(
    leaving: Sequence[tuple[str, tuple[int, ...]]], shape: tuple[int, ...]
) -> TapLocation | str:
    """Return where a tap of ``shape`` is among the values that leave its module, or why not."""
    if not leaving:
        return "no value that it makes is read outside of it"
    same = [name for name, candidate in leaving if candidate == shape]
    if len(same) == 1:
        return TapLocation(same[0])
    if same:
        return f"{len(same)} values of shape {list(shape)} leave it: {', '.join(same)}"
    fitting = [
        (name, order) for name, candidate in leaving for order in _permutations(candidate, shape)
    ]
    names = list(dict.fromkeys(name for name, _ in fitting))
    if not names:
        shapes = ", ".join(f"{name} {list(candidate)}" for name, candidate in leaving)
        return f"no value of shape {list(shape)} leaves it, in any order of axes, only {shapes}"
    if len(names) > 1:
        found = f"{len(names)} values have shape {list(shape)} in another order of axes"
        return f"{found}: {', '.join(names)}"
    if len(fitting) > 1:
        return f"{names[0]} has shape {list(shape)} in more than one order of axes"
    return TapLocation(*fitting[0])


def _permutations(
    candidate: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    """Return the orders of the axes that give ``candidate`` the ``shape``, but for axes of size 1.

    Axes of size 1 keep their order among themselves: where they go changes no value.
    """
    if sorted(candidate) != sorted(shape):
        return ()
    units = [axis for axis, size in enumerate(candidate) if size == 1]
    return tuple(
        order
        for order in itertools.permutations(range(len(candidate)))
        if tuple(candidate[axis] for axis in order) == shape
        and [axis for axis in order if candidate[axis] == 1] == units
    )


def _readers(nodes: Sequence[TapOperation]) -> dict[str, list[str | None]]:
    """Return for each value the modules of the operations that read it, directly or after casts."""
    readers: dict[str, list[str | None]] = {}
    for node in reversed(nodes):  # a cast's readers are known before the cast is met
        if node.type == "cast":
            modules = [module for name in _made(node) for module in readers.get(name, [])]
        else:
            modules = [node.module]
        for name in node.inputs:
            readers.setdefault(name, []).extend(modules)
    return readers


def _made(node: TapOperation) -> set[str]:
    return {name for name, _ in node.outputs}


def _is_inside(module: str | None, scope: str) -> bool:
    return module is not None and (module == scope or module.startswith(f"{scope}."))
