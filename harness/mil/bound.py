"""One step with everything settled that does not depend on values: ready to be called many times.

A program has thousands of small operations, and on a GPU Python's part of each takes longer than
the operation. So what is the same in every call is worked out once for a step and a numerics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from harness.errors import ExecutionError
from harness.mil.constants import read_literal
from harness.mil.numerics import Format, Numerics
from harness.mil.ops.registry import Context
from harness.mil.plan import Source, Step
from harness.mil.types import (
    DataType,
    DictionaryType,
    ListType,
    TensorType,
    ValueType,
    element_type,
)
from harness.mil.values import FAILURES, StateCell, TensorList

Values: TypeAlias = Sequence[Any] | Mapping[int, Any]
"""What each slot holds."""


class BoundStep:
    """A step of a plan in one numerics, on one device.

    Args:
        step: what to call.
        numerics: how its results are computed and stored.
        given: how the values that it reads are carried and rounded; values that only move need no
            more rounding if that is ``numerics``.
        device: where tensors live.
    """

    def __init__(
        self, step: Step, numerics: Numerics, given: Numerics, device: torch.device
    ) -> None:
        self.step = step
        definition = step.definition
        by_source = {source: [a for a in step.arguments if a.source is source] for source in Source}
        self._literals = {a.name: a.payload for a in by_source[Source.LITERAL]}
        self._slots = [(a.name, a.payload) for a in by_source[Source.SLOT]]
        self._several = [(a.name, a.payload) for a in by_source[Source.SLOTS]]
        self._read = by_source[Source.READ]
        if definition.takes_context:
            self._literals["context"] = _context(step, numerics, device)
        dtype = element_type(step.types[0]) if step.types else None
        self._function = definition.function
        if dtype is DataType.FLOAT16:
            self._function = numerics.functions.get(step.operation.type, definition.function)
        # What makes the context of the call, if it needs any; operations inside blocks have theirs.
        number = None if dtype is DataType.STRING or step.blocks else dtype
        self._within = None if number is None else numerics.format(number).within
        self._takes_out = definition.takes_out
        self._shares_memory = definition.effect.shares_memory
        keeps = step.moves_exactly and numerics is given
        self._results = [
            _Result(declared, variable.name, _form(declared, numerics), keeps)
            for declared, variable in zip(step.types, step.operation.outputs, strict=True)
        ]

    def __call__(
        self,
        values: Values,
        out: torch.Tensor | None = None,
        *,
        sole: bool = False,
        blocks: tuple[Callable[..., Any], ...] = (),
    ) -> tuple[Any, ...]:
        """Return the results: in carrier types, rounded.

        Args:
            values: what each slot holds that the step reads.
            out: memory that its result may be written into.
            sole: whether a view's result may be written over, whose memory it is.
            blocks: its blocks, ready to be run.

        Raises:
            ExecutionError: the operation failed, or its result is not what the program declares.
        """
        keywords = dict(self._literals)
        try:
            for name, slot in self._slots:
                keywords[name] = values[slot]
            for name, slots in self._several:
                keywords[name] = tuple(values[slot] for slot in slots)
            for argument in self._read:
                array = values[argument.payload].detach().cpu().numpy()
                keywords[argument.name] = read_literal(array, argument.kind)
            if self._takes_out:
                keywords["out"] = out
            if blocks:
                keywords["blocks"] = blocks
            if self._within is None:
                returned = self._function(**keywords)
            else:
                with self._within():
                    returned = self._function(**keywords)
            results = returned if isinstance(returned, tuple) else (returned,)
            if not self._shares_memory and returned is not out:
                self._refuse_shared_memory(keywords, results, out)
            return self._stored(results, writable=sole or not self._shares_memory)
        except FAILURES as error:
            raise ExecutionError(_failure(self.step, keywords, error)) from error

    def _stored(self, results: tuple[Any, ...], *, writable: bool) -> tuple[Any, ...]:
        if len(results) != len(self._results):
            raise ExecutionError(
                f"operation {self.step.operation} gave {len(results)} outputs, "
                f"but the program declares {len(self._results)}"
            )
        return tuple(
            [
                result.stored(value, self.step, writable)
                for result, value in zip(self._results, results, strict=True)
            ]
        )

    def _refuse_shared_memory(
        self, keywords: Mapping[str, Any], results: tuple[Any, ...], out: torch.Tensor | None
    ) -> None:
        """Refuse a result in an operand's memory, since the operation is not declared to share it.

        The schedule trusts that declaration: a later operation may write over such memory.
        """
        operands = [keywords[name] for name, _ in self._slots]
        for name, _ in self._several:
            operands += keywords[name]
        owners = {address(value) for value in operands if isinstance(value, torch.Tensor)}
        owners -= {0 if out is None else address(out), 0}
        if any(isinstance(r, torch.Tensor) and address(r) in owners for r in results):
            raise ExecutionError(
                f"operation {self.step.operation} returned the memory of an input; "
                "its definition must be registered with effect=Effect.VIEW"
            )


@dataclass(frozen=True)
class _Result:
    """What is to be checked of one result, and done to it.

    Attributes:
        declared: its type.
        name: its name.
        form: how it is stored, if it is a tensor.
        keeps: whether a value in the carrier type is stored already.
    """

    declared: ValueType
    name: str
    form: Format | None
    keeps: bool

    def stored(self, value: Any, step: Step, writable: bool) -> Any:
        declared, form = self.declared, self.form
        if form is None or not isinstance(value, torch.Tensor):
            _check_other(step, value, declared)
            return value
        assert isinstance(declared, TensorType)  # else it has no format
        if value.shape != declared.shape and not declared.accepts(tuple(value.shape)):
            raise ExecutionError(
                f"operation {step.operation} gave {self.name!r} the shape "
                f"{list(value.shape)}, but the program declares {declared}"
            )
        if self.keeps and value.dtype is form.carrier:
            return value
        return form.store(value, writable=writable)


def address(tensor: torch.Tensor) -> int:
    """Return where the memory begins that ``tensor`` shares with its views."""
    return tensor.untyped_storage().data_ptr()


def _form(declared: ValueType, numerics: Numerics) -> Format | None:
    if not isinstance(declared, TensorType) or declared.dtype is DataType.STRING:
        return None
    return numerics.format(declared.dtype)


def _context(step: Step, numerics: Numerics, device: torch.device) -> Context:
    found = (element_type(declared) for declared in step.types)
    dtypes = tuple(d for d in found if d is not None and d is not DataType.STRING)
    form = numerics.format(dtypes[0]) if dtypes else Format(torch.float32)
    return Context(form.carrier, device, dtypes, sums_are_wide=form.within is None)


def _check_other(step: Step, value: Any, declared: ValueType) -> None:
    """Refuse a result that is no tensor where one is declared, and the reverse."""
    fits = (
        (isinstance(declared, ListType) and isinstance(value, TensorList))
        or (isinstance(declared, DictionaryType) and isinstance(value, dict))
        or (declared == TensorType(DataType.STRING, ()) and isinstance(value, str))
    )
    if not fits:
        raise ExecutionError(
            f"operation {step.operation} gave a {type(value).__name__}, "
            f"but the program declares {declared}"
        )


def _failure(step: Step, keywords: Mapping[str, Any], error: Exception) -> str:
    given = ", ".join(
        f"{argument.name}={_describe(keywords[argument.name])}"
        for argument in step.arguments
        if keywords.get(argument.name) is not None
    )
    return f"operation {step.operation} failed on {given}: {error}"


def _describe(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{list(value.shape)}".removeprefix("torch.")
    if isinstance(value, TensorList):
        return f"list of {value.length}"
    if isinstance(value, StateCell):
        return f"state of {_describe(value.value)}"
    if isinstance(value, tuple) and value and isinstance(value[0], torch.Tensor | TensorList):
        return "(" + ", ".join(_describe(item) for item in value) + ")"
    return repr(value)
