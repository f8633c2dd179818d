"""Programs for the linter: one operation or a few, as coremltools' builder makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness._coremltools import import_coremltools
from suites.ops.packages import write_package
from suites.selftest.mil.conftest import rewrite_model

F16, F32, I32 = np.float16, np.float32, np.int32
VERSIONS = {"iOS15": 6, "iOS16": 7, "iOS17": 8, "iOS18": 9}


@dataclass(frozen=True)
class Made:
    """A program to lint.

    Attributes:
        body: builds the outputs from coremltools' builder and the inputs.
        inputs: shape and element type of each; a state where the type is a string.
        builder: the release whose definitions the builder uses.
        saved: the release that the package declares.
        edit: changes the model's message behind the builder's back.
    """

    body: Callable[..., Any]
    inputs: Mapping[str, tuple[tuple[int, ...], Any]] = field(default_factory=dict)
    builder: str = "iOS18"
    saved: str = "iOS18"
    edit: Callable[[Any], None] | None = None

    def write(self, path: Path) -> Path:
        """Write the package."""
        ct = import_coremltools()
        from coremltools.converters.mil import Builder as mb
        from coremltools.converters.mil.mil import Function, Program, types

        def placeholder(shape: tuple[int, ...], dtype: Any) -> Any:
            if dtype == "state":
                return mb.state_tensor_placeholder(shape=shape, dtype=types.fp16)
            return mb.placeholder(shape, types.numpy_type_to_builtin_type(dtype))

        program = Program()
        placeholders = {name: placeholder(*what) for name, what in self.inputs.items()}
        with Function(placeholders, opset_version=ct.target[self.builder]) as function:
            outputs = self.body(mb, **function.inputs)
            outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
            function.set_outputs(list(outputs))
        program.add_function("main", function)
        write_package(program, path, VERSIONS[self.saved])
        return rewrite_model(path, self.edit) if self.edit else path


def main_of(message: Any) -> Any:
    """Return the main function of a model's message."""
    return message.mlProgram.functions["main"]


def operations_of(message: Any) -> list[Any]:
    """Return the operations of its active block, constants included."""
    function = main_of(message)
    return list(function.block_specializations[function.opset].operations)


def operation_of(message: Any, type_: str) -> Any:
    """Return the first operation of a type."""
    return next(operation for operation in operations_of(message) if operation.type == type_)


def listing_shapes(*counts: int) -> Callable[[Any], None]:
    """Return an edit that lists so many shapes for each input, in their order."""

    def edit(message: Any) -> None:
        for entry, count in zip(message.description.input, counts, strict=False):
            for size in range(1, count + 1):
                entry.type.multiArrayType.enumeratedShapes.shapes.add().shape.extend([size, 3])

    return edit


def ranging(place: int, low: int, high: int) -> Callable[[Any], None]:
    """Return an edit that gives an input's first axis a range; -1 is no upper bound."""

    def edit(message: Any) -> None:
        ranges = message.description.input[place].type.multiArrayType.shapeRange.sizeRanges
        ranges.add(lowerBound=low, upperBound=high)
        ranges.add(lowerBound=3, upperBound=3)

    return edit


def both(*edits: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return an edit that makes several."""

    def edit(message: Any) -> None:
        for one in edits:
            one(message)

    return edit
