"""Opens an ``.mlmodelc`` folder: what Xcode makes of a package, and what apps carry.

``model.mil`` is the program as text, with its weights in files beside it. ``metadata.json``, where
it is there, adds the order of inputs, which of them are optional, and the author's words. What is
left in the folder belongs to Core ML's own compiler and is not read. Nothing in it is trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.bounded import MEBIBYTE, read_json, read_text
from harness.errors import PackageError
from harness.mil.description import Described, Description, ShapeRule
from harness.mil.opened import ConstantReader, Package, inside
from harness.mil.program import Constant, Function
from harness.mil.text import parse_program
from harness.mil.types import StateType

_PROGRAM, _METADATA = "model.mil", "metadata.json"
# The largest known are a few megabytes, because weights are elsewhere; a number takes a hundred
# times the memory of its text.
_PROGRAM_LIMIT_BYTES = 8 * MEBIBYTE
_METADATA_LIMIT_BYTES = 4 * MEBIBYTE
_WORDS = {k: k for k in ("author", "license", "version")} | {"description": "shortDescription"}
_FLEXIBLE = "FlexibleShapeInformation"


def is_compiled(path: Path) -> bool:
    """Whether the folder ``path`` looks like a compiled ML Program."""
    return (path / _PROGRAM).exists()


def open_compiled(path: Path) -> Package:
    """Open the ``.mlmodelc`` folder at ``path``.

    Raises:
        PackageError: it is broken; says what is wrong and where.
    """
    folder = path.resolve()
    file = inside(folder, folder, _PROGRAM, "program")
    text = read_text(file, _PROGRAM_LIMIT_BYTES, PackageError)
    metadata = _metadata(folder)
    try:
        program = parse_program(text)
        descriptions = {
            name: _description(function, metadata) for name, function in program.functions.items()
        }
    except PackageError as error:
        raise PackageError(f"{path / _PROGRAM}: {error}") from error
    return Package(
        path=path,
        specification_version=_integer(metadata.get("specificationVersion")),
        program=program,
        default_function=str(metadata.get("defaultFunctionName", "main")),
        descriptions=descriptions,
        metadata=_words(metadata),
        constants=ConstantReader(folder, folder),
    )


def _metadata(folder: Path) -> Mapping[str, Any]:
    """Return the first entry of ``metadata.json``, or nothing where the file is missing."""
    if not (folder / _METADATA).exists():
        return {}
    file = inside(folder, folder, _METADATA, "metadata")
    content = read_json(file, _METADATA_LIMIT_BYTES, PackageError)
    entry = content[0] if isinstance(content, list) and content else content
    if not isinstance(entry, dict):
        raise PackageError(f"{file} does not describe a model")
    return entry


def _words(metadata: Mapping[str, Any]) -> dict[str, str]:
    fields = {name: metadata.get(key) for name, key in _WORDS.items()}
    words = {name: value for name, value in fields.items() if isinstance(value, str) and value}
    custom = metadata.get("userDefinedMetadata")
    entries = custom.items() if isinstance(custom, dict) else ()
    return words | {key: value for key, value in entries if isinstance(value, str)}


def _description(function: Function, metadata: Mapping[str, Any]) -> Description:
    rules = _rules(function)
    optional = {
        entry.get("name")
        for entry in _entries(metadata, "inputSchema")
        if entry.get("isOptional") == "1"
    }
    states = {v.name for v in function.inputs if isinstance(v.type, StateType)}
    inputs = _ordered(metadata, "inputSchema", [v.name for v in function.inputs])
    return Description(
        inputs=tuple(
            Described(name, rules.get(name, ShapeRule()), name in optional)
            for name in inputs
            if name not in states
        ),
        outputs=tuple(
            Described(name) for name in _ordered(metadata, "outputSchema", function.block.outputs)
        ),
    )


def _entries(metadata: Mapping[str, Any], schema: str) -> list[dict[str, Any]]:
    found = metadata.get(schema)
    return [e for e in found if isinstance(e, dict)] if isinstance(found, list) else []


def _ordered(metadata: Mapping[str, Any], schema: str, names: Sequence[str]) -> list[str]:
    listed = [str(entry.get("name")) for entry in _entries(metadata, schema)]
    return [n for n in listed if n in names] + [n for n in names if n not in listed]


def _rules(function: Function) -> dict[str, ShapeRule]:
    """Return the shapes that each flexible input takes, as an attribute of the function says."""
    attribute = function.attributes.get(_FLEXIBLE)
    if attribute is None:
        return {}
    try:
        found = dict(_plain(attribute))
        defaults = {name: tuple(shape) for name, shape in found.pop("DefaultShapes", {}).items()}
        rules = {name: ShapeRule(shape) for name, shape in defaults.items()}
        for name, bounds in found.pop("RangeDims", {}).items():
            ranges = tuple((low, None if high < 0 else high) for low, high in bounds)
            rules[name] = ShapeRule(defaults.get(name), ranges=ranges)
        for combination in found.pop("EnumeratedShapes", {}).values():
            for name, shape in combination.items():
                shapes = (*rules.get(name, ShapeRule()).enumerated, tuple(shape))
                rules[name] = ShapeRule(defaults.get(name), enumerated=shapes)
    except (TypeError, ValueError, AttributeError) as error:
        raise PackageError(f"the attribute {_FLEXIBLE} has an unknown form: {error}") from error
    if found:
        raise PackageError(f"the attribute {_FLEXIBLE} has unknown parts: {', '.join(found)}")
    return rules


def _plain(value: object) -> Any:
    """Return a constant as lists, dictionaries, strings and numbers."""
    if isinstance(value, Constant):
        return _plain(value.value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _integer(value: object) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
