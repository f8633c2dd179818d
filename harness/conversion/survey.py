"""A pass of ours in coremltools' pipeline, right before it puts casts around FP16 operations.

It does two things there. It shows the operations to a visitor, so that a recipe that doesn't fit
fails before anything is written, and its rules are counted the same way for every precision. And it
names each operation after the value that it makes. coremltools names a value after its operation
when it converts the operation to FP16, so without this a ``linear_0`` would make ``var_1287`` in
one package and ``linear_0_cast_fp16`` in another. With it, a value has the same name in all
packages of a model, but for the suffix ``_cast_fp16``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness._coremltools import import_coremltools

# coremltools appends it to an operation's name; if it makes several values, theirs have a number.
# An operation that takes indices gets another one, once they are narrowed to 16 bits.
_FP16_SUFFIX = re.compile(r"(?:_cast_(?:fp16|u?int16))+(_\d+)?$")
_PASS = "htdemucs_parity::survey_operations"
_SANITISE = "mil_backend::sanitize_name_strings"
_BEFORE = "common::add_fp16_cast"


def base_name(name: str, outputs: Sequence[str]) -> str:
    """Return the name by which recipes know an operation, whatever its precision.

    Args:
        name: of the operation, in the survey or in a package.
        outputs: names of the values that it makes.
    """
    # Transposes and casts are made anew late in the conversion: only their values keep their names.
    return base_value(outputs[0] if len(outputs) == 1 else name)


def base_value(name: str) -> str:
    """Return the name of a value without what conversion to FP16 puts into it."""
    return _FP16_SUFFIX.sub(r"\1", name)


def surveyed_pipeline(visit: Callable[[list[Any]], object]) -> Any:
    """Return coremltools' default ``PassPipeline`` with the survey in it.

    Args:
        visit: called once with the coremltools ``Operation`` objects that are no constants, in
            program order.
    """
    register_pass(_PASS, "visit", _survey)
    pipeline = import_coremltools().PassPipeline.DEFAULT
    index = pipeline.passes.index(_BEFORE)
    pipeline.insert_pass(index, _PASS)
    # Values that the trace calls "94" or "x.3" get their final names first.
    pipeline.insert_pass(index, _SANITISE)
    pipeline.set_options(_PASS, {"visit": visit})
    return pipeline


def every_operation(block: Any) -> Iterator[Any]:
    """Yield each operation of a coremltools ``Block``, those of its inner blocks first."""
    for operation in block.operations:
        for inner in operation.blocks:
            yield from every_operation(inner)
        yield operation


def values_read(operation: Any) -> list[Any]:
    """Return the values that a coremltools ``Operation`` reads."""
    return [
        value
        for values in operation.inputs.values()
        for value in (values if isinstance(values, (list, tuple)) else [values])
    ]


@functools.cache
def register_pass(name: str, option: str, apply: Callable[[Any, Any], None]) -> None:
    """Make ``apply(program, value)`` a pass that coremltools knows as ``name``.

    ``value`` is what a pipeline gives the pass as its ``option``.
    """
    import_coremltools()
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.converters.mil.mil.passes.pass_registry import register_pass as register

    class Pass(AbstractGraphPass):  # type: ignore[misc]
        """One of this project's own."""

        def apply(self, program: Any) -> None:
            apply(program, getattr(self, option))

    setattr(Pass, option, None)  # coremltools sets none that isn't there
    namespace, title = name.split("::")
    register(namespace=namespace, name=title)(Pass)


def _survey(program: Any, visit: Callable[[list[Any]], object]) -> None:
    """Name every operation after its value, then show them to ``visit``."""
    operations = [
        operation
        for function in program.functions.values()
        for operation in every_operation(function)
    ]
    _name_after_values(operations)
    visit([operation for operation in operations if operation.op_type != "const"])


def _name_after_values(operations: list[Any]) -> None:
    renamed = [op for op in operations if op.op_type != "const" and len(op.outputs) == 1]
    taken = {op.name for op in operations} - {op.name for op in renamed}
    for operation in renamed:
        name = operation.outputs[0].name
        if name not in taken:
            operation.name = name
