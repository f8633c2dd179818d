"""An exported function as the bytes of an ONNX model; the one place that needs ``onnx``."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

import harness
from harness.atomic import atomic_file
from harness.errors import EngineUnavailableError, ParityError
from harness.onnx_export.build import Node, Value, code_of
from harness.onnx_export.program import Exported

OPSET: Final = 20
"""Of the standard operators; the first with ``Gelu``, and 18 changed how reductions take axes."""

MADE: Final = "/made"
"""What the results of operations that are executed apart are called by."""

_IR_VERSION: Final = 9  # of opset 20: older runtimes refuse a newer one
_LIMIT_BYTES: Final = 2**31 - 1  # of a protocol buffer


def save_onnx(exported: Exported, path: Path, metadata: Mapping[str, str] | None = None) -> int:
    """Write an exported function to ``path``, atomically; return the size in bytes.

    Raises:
        ParityError: the name does not end in .onnx, or the model is larger than 2 GiB.
        EngineUnavailableError: ``onnx`` is not installed.
    """
    if path.suffix != ".onnx":
        raise ParityError(f"can't save an ONNX model as {path}: the name must end in .onnx")
    content = to_bytes(exported, metadata=metadata)
    with atomic_file(path) as file:
        file.write_bytes(content)
    return len(content)


def to_bytes(
    exported: Exported,
    *,
    taps: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
    apart: Sequence[str] = (),
) -> bytes:
    """Return an exported function as an ONNX model.

    Args:
        exported: what to write.
        taps: values to return beside the outputs.
        metadata: texts to be kept with it.
        apart: values of the program. Return these alone, and take those that their operations
            read as inputs; the results are called as the values, with `MADE` behind.

    Raises:
        As `save_onnx`.
    """
    if importlib.util.find_spec("onnx") is None:
        raise EngineUnavailableError(
            "the package onnx is not installed: pip install 'htdemucs-parity[onnx]'"
        )
    from onnx import helper, numpy_helper

    size = sum(array.nbytes for array in exported.graph.initializers.values())
    if size > _LIMIT_BYTES:
        raise ParityError(
            f"the constants take {size:,} bytes; an ONNX model in one file holds {_LIMIT_BYTES:,}"
        )
    returned = {value.name for value in exported.outputs}
    extra = [exported.values[name] for name in taps if name not in returned]
    inputs, outputs = list(exported.inputs), [*exported.outputs, *extra]
    made = {name: name for name in exported.values}
    nodes: Sequence[Node] = exported.graph.nodes
    initializers = exported.graph.initializers
    if apart:
        made = {name: name + MADE for name in exported.values}
        nodes, read = _behind(exported, apart)
        known = {value.name: value for value in (*exported.inputs, *exported.values.values())}
        inputs = [value for name, value in known.items() if name in read]
        outputs = [exported.values[name] for name in apart]
        initializers = {name: array for name, array in initializers.items() if name in read}
    graph = helper.make_graph(
        [
            helper.make_node(
                node.op_type,
                node.inputs,
                [made.get(name, name) for name in node.outputs],
                node.name,
                **node.attributes,
            )
            for node in nodes
        ],
        exported.name or "main",
        [_described(value, value.name) for value in inputs],
        [_described(value, made.get(value.name, value.name)) for value in outputs],
        [
            numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
            for name, array in initializers.items()
        ],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="htdemucs-parity",
        producer_version=harness.__version__,
        ir_version=_IR_VERSION,
    )
    helper.set_model_props(model, {_text(k): _text(v) for k, v in (metadata or {}).items()})
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def _behind(exported: Exported, names: Sequence[str]) -> tuple[list[Node], set[str]]:
    """Return the nodes that make these values of other values, in order, and what they read."""
    wanted, nodes, read = set(names), [], set[str]()
    for node in reversed(exported.graph.nodes):
        if not wanted.isdisjoint(node.outputs):
            nodes.append(node)
            read.update(node.inputs)
            wanted.update(name for name in node.inputs if name not in exported.values)
    return nodes[::-1], read


def _text(words: str) -> str:
    """Return ``words`` without halves of surrogate pairs, which no protocol buffer holds."""
    return words.encode("utf-8", "replace").decode("utf-8")


def _described(value: Value, name: str) -> Any:
    from onnx import helper

    shape = None if value.shape is None else list(value.shape)
    return helper.make_tensor_value_info(name, code_of(value.dtype), shape)
