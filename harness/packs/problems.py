"""Questions of a pack: what is computed, of what, and how close an answer must be.

A pack is a `Book` of operations. An operation is one decorated function: it draws numbers and
yields a `Problem` for each case::

    @BOOK.operation("linear", {"x": "[N, in]", "weight": "[out, in]", "y": "[N, out]"})
    def linear(draw: Draw) -> Iterator[Problem]:
        '''y = x weight^T + bias.'''
        yield Problem("basic", F.linear, {"x": draw(4, 7)}, {"weight": draw(3, 7), ...})

``compute`` gets the inputs in their order, parameters and attributes by their names, as float64
tensors of PyTorch, and returns ``y``, or several tensors by name. It is all that a newcomer writes:
gradients against a stored cotangent, quieter inputs, layouts, bounds and hashes are made of it by
`building`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from harness.errors import ParityError
from harness.packs.manifest import Tolerance

Array = npt.NDArray[Any]
Compute = Callable[..., "torch.Tensor | Mapping[str, torch.Tensor]"]

LEVELS_DBFS: Final = (0, -60, -96)
"""RMS levels of inputs: full scale, a quiet passage, and the last bit of 16-bit audio. An epsilon
that is wrong hides at the first and shows at the last."""

_SILENT_ATOL: Final = 1e-6


@dataclass(frozen=True)
class Bounds:
    """How close an answer must be, before the numbers of the answer are known.

    Attributes:
        rtol: relative to each element.
        atol_of_rms: absolute, relative to the RMS of the tensor: at -96 dBFS an absolute number
            would let anything pass.
        min_snr_db: of the tensor; None for none.
    """

    rtol: float
    atol_of_rms: float
    min_snr_db: float | None = None

    def tolerance(self, expected: Array) -> Tolerance:
        """Return the bounds in the numbers of one tensor."""
        wide = expected.astype(np.float64)
        rms = float(np.sqrt(np.mean(wide**2))) if wide.size else 0.0
        if rms == 0.0:  # nothing to be relative to: sums that cancel leave a few roundings
            return Tolerance(self.rtol, _SILENT_ATOL if self.atol_of_rms else 0.0)
        return Tolerance(self.rtol, float(f"{self.atol_of_rms * rms:.3e}"), self.min_snr_db)


FP32: Final = Bounds(1e-5, 5e-6, 110.0)
"""Of one operation in FP32: it reaches 117 to 150 dB. A GELU by tanh, a dropped bias or an epsilon
in the wrong place reach 60 to 106."""
SEVERAL: Final = Bounds(2e-5, 1e-5, 105.0)
"""Of a chain of operations, or of sums that partly cancel."""
EXACT: Final = Bounds(0.0, 0.0)
"""Of what moves or selects numbers and computes none."""


@dataclass(frozen=True)
class Problem:
    """One case of an operation.

    Attributes:
        name: of the case within its operation.
        compute: from inputs, and named parameters and attributes, to ``y`` or tensors by name.
        inputs, parameters: float32 or int32 by name.
        attributes: numbers, words, truth values, lists of numbers.
        bounds, gradient_bounds: where they are not those of the operation.
        levels: whether the first input is also given at each of `LEVELS_DBFS`.
        algorithms: what an algorithm is predicted to make of it (`CaseEntry.algorithms`).
    """

    name: str
    compute: Compute
    inputs: Mapping[str, Array]
    parameters: Mapping[str, Array] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    bounds: Bounds | None = None
    gradient_bounds: Bounds | None = None
    levels: bool = False
    algorithms: Mapping[str, float] = field(default_factory=dict)

    def at_levels(self) -> Iterator[tuple[Problem, int]]:
        """Yield the problem with its input at each level that it asks for, and the level."""
        if not self.levels:
            yield self, 0
            return
        first = next(iter(self.inputs))
        for level in LEVELS_DBFS:
            scaled = (self.inputs[first] * 10.0 ** (level / 20)).astype(np.float32)
            name = self.name if level == 0 else f"{self.name}_minus_{-level}_dbfs"
            yield replace(self, name=name, inputs={**self.inputs, first: scaled}), level


class Draw:
    """Draws numbers from a seed: called with a shape, normal ones with an RMS of 1, float32."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))

    def __call__(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> Array:
        """Return normal numbers."""
        numbers = self._generator.standard_normal(shape)
        return np.asarray(mean + scale * numbers, np.float32)

    def positive(self, *shape: int) -> Array:
        """Return numbers from 0.5 to 1.5."""
        return np.asarray(0.5 + self._generator.random(shape), np.float32)

    def integers(self, high: int, *shape: int) -> Array:
        """Return whole numbers from 0 to ``high - 1``."""
        return np.asarray(self._generator.integers(high, size=shape), np.int32)


@dataclass(frozen=True)
class Operation:
    """One operation of a book.

    Attributes:
        name: of the operation.
        problems: draws its cases.
        layouts: axes by the name of a tensor; a gradient has those of what it belongs to.
        conventions: attributes of every case that ``compute`` need not be told.
        bounds, gradient_bounds: of its cases.
        seed: of its numbers.
    """

    name: str
    problems: Callable[[Draw], Iterator[Problem]]
    layouts: Mapping[str, str]
    conventions: Mapping[str, Any]
    bounds: Bounds
    gradient_bounds: Bounds
    seed: int

    @property
    def summary(self) -> str:
        """What it computes: the first paragraph of the function's docstring."""
        return " ".join((self.problems.__doc__ or "").partition("\n\n")[0].split())

    def cases(self) -> Iterator[tuple[Problem, int]]:
        """Yield its problems, those at lower levels among them, with their level in dBFS."""
        for problem in self.problems(Draw(self.seed)):
            yield from problem.at_levels()


class Book:
    """The operations of one pack.

    Args:
        name: of the pack.
        layer: the rung of the ladder that its checks belong to.
        differentiable: whether gradients are asked for.
    """

    def __init__(self, name: str, layer: str, *, differentiable: bool = True) -> None:
        self.name, self.layer, self.differentiable = name, layer, differentiable
        self.operations: dict[str, Operation] = {}

    def operation(
        self,
        name: str,
        layouts: Mapping[str, str],
        *,
        bounds: Bounds = FP32,
        **conventions: Any,
    ) -> Callable[[Callable[[Draw], Iterator[Problem]]], Callable[[Draw], Iterator[Problem]]]:
        """Register the decorated function as the problems of an operation.

        Raises:
            ParityError: the book has this operation already, or the function has no docstring.
        """

        def add(problems: Callable[[Draw], Iterator[Problem]]) -> Any:
            if name in self.operations or not problems.__doc__:
                raise ParityError(f"operation {name!r} is there twice, or says not what it does")
            self.operations[name] = Operation(
                name,
                problems,
                layouts,
                conventions,
                bounds,
                SEVERAL if bounds is EXACT else bounds,
                seed_of(f"{self.name}/{name}"),
            )
            return problems

        return add


OPS: Final = Book("ops", layer="ops")
"""Single operations of networks, forward and backward; `harness.packs.ops` registers them."""
DSP: Final = Book("dsp", layer="stft", differentiable=False)
"""Signal processing around a network, forward only; `harness.packs.dsp` registers it."""


def seed_of(text: str) -> int:
    """Return the seed that belongs to a name: 48 bits, which every language can hold."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
