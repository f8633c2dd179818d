"""What ONNX Runtime makes of a package beside the executor, operation by operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from harness.engines.agreement import Disagreement, disagreements
from harness.engines.onnx_engine import OnnxSession
from harness.mil import Model
from harness.mil.program import Operation, Variable
from harness.mil.types import TensorType
from harness.onnx_export import Exported

ENGINE: Final = "onnx"
AT_ONCE_BYTES: Final = 2**29
"""Of results: what they are made of, and the same by the other engine, take a few times as much.
All of the published size at once would be tens of GB."""


def operations_apart(
    model: Model,
    exported: Exported,
    inputs: Mapping[str, np.ndarray],
    *,
    at_once_bytes: int = AT_ONCE_BYTES,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Disagreement]:
    """Return the operations about which the two disagree, each on the executor's own values.

    Args:
        model: the program; it is executed once for each group of operations.
        exported: the same as an ONNX model.
        inputs: by name.
        at_once_bytes: how large the results of a group may be together.
        advance: told how many operations are through, of how many.
    """
    session, known = OnnxSession(model, exported), {*model.tap_names("all")}
    found, done = [], 0
    for group in _groups(model.operations, at_once_bytes):
        names = [v.name for o in group for v in o.outputs if v.name in exported.values]
        read = [name for operation in group for name in operation.input_names]
        if names:
            taps = [name for name in dict.fromkeys((*names, *read)) if name in known]
            values = {**inputs, **model.predict(inputs, taps=taps)}
            found += disagreements(group, values, session.apart(values, names))
        done += len(group)
        advance(done, len(model.operations))
    return found


def _groups(operations: Sequence[Operation], limit: int) -> Iterator[list[Operation]]:
    group: list[Operation] = []
    size = 0
    for operation in operations:
        own = sum(map(_bytes, operation.outputs))
        if group and size + own > limit:
            yield group
            group, size = [], 0
        group.append(operation)
        size += own
    yield group


def _bytes(variable: Variable) -> int:
    """The size of a result as declared; 0 where that depends on the inputs."""
    kind = variable.type
    if not isinstance(kind, TensorType) or not kind.is_static:
        return 0
    return kind.count * kind.dtype.numpy.itemsize
