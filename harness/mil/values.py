"""What a program's names can stand for at run time besides tensors: lists and states.

A tensor is a PyTorch tensor in its carrier type, a label a ``str``, a classifier's result a
``dict`` from label to probability. Lists never change: writing makes a new one that shares its
elements with the old. A cell is the one thing that changes: it holds the tensor of a state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch

from harness.errors import ExecutionError

# What PyTorch, NumPy and Python raise on values or sizes that they can't work with.
FAILURES = (RuntimeError, ValueError, LookupError, TypeError, ArithmeticError, MemoryError)

Label: TypeAlias = str | int


@contextmanager
def allocating(what: str) -> Iterator[None]:
    """Say what could not be made where there is no memory for it.

    Raises:
        ExecutionError: it could not be made.
    """
    try:
        yield
    except FAILURES as error:
        raise ExecutionError(f"{what} can't be held in memory: {error}") from error


@dataclass(frozen=True, eq=False)
class TensorList:
    """A list of tensors; those that have not been written yet are zeros.

    Attributes:
        length: how many elements it has.
        grows: whether writing past the end makes it longer.
        elements: the written ones by index, so that a long empty list costs nothing.
        blank: the zeros that an element is before it is written; ``None`` where the program does
            not say of which shape.
    """

    length: int
    grows: bool
    elements: Mapping[int, torch.Tensor]
    blank: torch.Tensor | None = None

    def read(self, index: int) -> torch.Tensor:
        """Return the element at ``index``.

        Raises:
            IndexError: there is none, or it is blank and of unknown shape.
        """
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} is outside a list of {self.length} elements")
        if index in self.elements:
            return self.elements[index]
        if self.blank is None:
            raise IndexError(
                f"element {index} of the list is read before it was written, "
                "and the program does not say of which shape it is"
            )
        return self.blank.contiguous()

    def written(self, updates: Mapping[int, torch.Tensor]) -> TensorList:
        """Return this list with ``updates`` written into it.

        Raises:
            IndexError: an index is negative, or past the end of a list of fixed length.
        """
        length = max([self.length, *(index + 1 for index in updates)])
        if any(index < 0 for index in updates) or (length > self.length and not self.grows):
            raise IndexError(
                f"can't write at {sorted(updates)} in a list of {self.length} elements"
            )
        return TensorList(length, self.grows, {**self.elements, **updates}, self.blank)


@dataclass(eq=False)
class StateCell:
    """The tensor that a state holds at the moment; its memory is never written, only replaced."""

    value: torch.Tensor


Value: TypeAlias = torch.Tensor | TensorList | StateCell | str | dict[Label, float]
