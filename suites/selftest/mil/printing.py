"""Writes an opened package as a compiled model, so that both can be compared.

The text is printed here without a line of the parser's, in the two spellings of scalars that public
files show: ``tensor<fp32, []>(0x1p+0)`` and ``fp32(0x1p+0)``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from harness.mil.package import open_package
from harness.mil.program import BlobReference, Block, Constant, Function, Operation, Program
from harness.mil.types import (
    DictionaryType,
    ListType,
    StateType,
    TensorType,
    TupleType,
)

OPSETS = {"CoreML5": "ios15", "CoreML6": "ios16", "CoreML7": "ios17", "CoreML8": "ios18"}


def write_compiled(package: Path, folder: Path, *, old: bool = False, **metadata: Any) -> Path:
    """Write the ``.mlpackage`` at ``package`` as the ``.mlmodelc`` folder ``folder``."""
    opened = open_package(package)
    folder.mkdir()
    weights = package / "Data" / "com.apple.CoreML" / "weights"
    shutil.copytree(weights, folder / "weights")
    (folder / "model.mil").write_text(Printer(old).program(opened.program))
    description = opened.descriptions[opened.default_function]
    entry = {
        "inputSchema": [{"name": f.name, "isOptional": "0"} for f in description.inputs],
        "outputSchema": [{"name": f.name} for f in description.outputs],
        "specificationVersion": opened.specification_version,
        "defaultFunctionName": opened.default_function,
        "userDefinedMetadata": dict(opened.metadata),
        **metadata,
    }
    (folder / "metadata.json").write_text(json.dumps([entry]))
    return folder


class Printer:
    def __init__(self, old: bool) -> None:
        self.old = old

    def program(self, program: Program) -> str:
        string = "tensor<string, []>" if self.old else "string"
        info = '{{"coremlc-version", "3505.4.1"}, {"quoted", "\\"\\\\"}}'
        head = f"program({'1.0' if self.old else '1.3'})\n"
        head += f"[buildInfo = dict<{string}, {string}>({info})]\n"
        return head + "{\n" + "".join(map(self.function, program.functions.values())) + "}\n"

    def function(self, function: Function) -> str:
        inputs = ", ".join(f"{self.type(v.type)} {v.name}" for v in function.inputs)
        attributes = self.attributes(function.attributes)
        head = f"    func {function.name}<{OPSETS[function.opset]}>({inputs}) {attributes}"
        return head + self.body(function.block, 8) + ";\n"

    def body(self, block: Block, indent: int) -> str:
        lines = [" " * (indent + 4) + self.operation(o, indent + 4) for o in block.operations]
        return "{\n" + "".join(lines) + " " * indent + f"}} -> ({', '.join(block.outputs)})"

    def operation(self, operation: Operation, indent: int) -> str:
        outputs = ", ".join(f"{self.type(v.type)} {v.name}" for v in operation.outputs)
        attributes = dict(operation.attributes)
        inputs = {k: v for k, v in operation.inputs.items() if k not in attributes}
        arguments = ", ".join(f"{k} = {self.bindings(v)}" for k, v in sorted(inputs.items()))
        text = f"{outputs} = " if outputs else ""
        text += f"{operation.type}({arguments}){self.attributes(attributes)}"
        for block in operation.blocks:
            inputs_ = ", ".join(f"{self.type(v.type)} {v.name}" for v in block.inputs)
            text += f" ({inputs_}) " + self.body(block, indent + 4)
        return text + ";\n"

    def bindings(self, bindings: Iterable[Any]) -> str:
        printed = [b if isinstance(b, str) else self.value(b) for b in bindings]
        return printed[0] if len(printed) == 1 else f"({', '.join(printed)})"

    def attributes(self, attributes: Any) -> str:
        inner = ", ".join(f"{key} = {self.value(value)}" for key, value in attributes.items())
        return f"[{inner}]" if inner else ""

    def value(self, constant: Constant) -> str:
        if isinstance(constant.value, BlobReference):
            path, offset = constant.value.file_name, constant.value.offset
            string, integer = ("string", "uint64")
            if self.old:
                string, integer = "tensor<string, []>", "tensor<uint64, []>"
            inner = f'BLOBFILE(path = {string}("{path}"), offset = {integer}({offset}))'
        else:
            inner = self.literal(constant)
        return f"{self.type(constant.type)}({inner})"

    def literal(self, constant: Constant) -> str:
        type_, value = constant.type, constant.value
        if isinstance(value, str):
            return quoted(value)
        if isinstance(type_, DictionaryType):
            pairs = (
                f"{{{quoted(key) if isinstance(key, str) else key}, {self.literal(item)}}}"
                for key, item in value.items()
            )
            return f"{{{', '.join(pairs)}}}"
        if isinstance(type_, TupleType):
            return f"({', '.join(map(self.literal, value))})"
        if isinstance(type_, ListType):
            return f"[{', '.join(map(self.literal, value))}]"
        if isinstance(value, tuple):
            return f"[{', '.join(map(quoted, value))}]"
        return numbers(value)

    def type(self, type_: Any) -> str:
        if isinstance(type_, TensorType):
            if type_.shape == () and not self.old:
                return str(type_.dtype)
            return f"tensor<{type_.dtype}, [{', '.join(map(size, type_.shape))}]>"
        if isinstance(type_, ListType):
            return f"list<{self.type(type_.element)}, {size(type_.length)}>"
        if isinstance(type_, StateType):
            return f"state<{self.type(type_.wrapped)}>"
        if isinstance(type_, TupleType):
            return f"tuple<{', '.join(map(self.type, type_.elements))}>"
        return f"dict<{self.type(type_.key)}, {self.type(type_.value)}>"


def size(value: int | None) -> str:
    return "?" if value is None else str(value)


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def numbers(array: Any) -> str:
    array = np.asarray(array)
    if array.ndim:
        return f"[{', '.join(map(numbers, array))}]"
    if array.dtype.kind == "b":
        return "true" if array else "false"
    if array.dtype.kind == "f":
        return hexadecimal(float(array))
    return str(int(array))


def hexadecimal(value: float) -> str:
    """As C's ``%a`` prints it: no trailing zeros."""
    text = value.hex()
    mantissa, mark, exponent = text.partition("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return mantissa + mark + exponent
