"""The JSON Schema of run documents, derived from the classes that write them.

`run_schema` returns it as JSON data (draft 2020-12). The repository publishes it as
``docs/run.schema.json`` for readers that are not Python; a field that is added to a class is in the
schema with the next call: ``python -m harness.verdicts.schema`` prints it.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Literal

from harness.verdicts.jsondata import Keys, Limits
from harness.verdicts.runs import DERIVED, SCHEMA_VERSION, STORED, Run

_NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}
_LEAVES: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: _NUMBER,
    type(None): {"type": "null"},
    Any: {},
}


def run_schema() -> dict[str, Any]:
    """Return the schema of what `Run.to_json` writes."""
    definitions: dict[str, Any] = {}
    hints = {**typing.get_type_hints(Run, include_extras=True), **DERIVED}
    names = [*DERIVED, *STORED]
    properties = {name: _schema(hints[name], definitions) for name in names}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of htdemucs-parity",
        "description": 'Numbers that JSON lacks are the strings "inf", "-inf" and "nan".',
        "type": "object",
        "properties": {"schema_version": {"const": SCHEMA_VERSION}, **properties},
        "required": ["schema_version", *names],
        "additionalProperties": False,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if hint in _LEAVES:
        return _LEAVES[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if is_dataclass(hint):
        return _reference(hint, definitions)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _held(_schema(arguments[0], definitions), arguments[1])
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema(argument, definitions) for argument in arguments]}
    if origin is tuple and arguments[-1] is not ...:
        items = [_schema(argument, definitions) for argument in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    if origin in (tuple, Sequence):
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    raise TypeError(f"no schema for {hint}: a run holds plain data only")


def _held(inner: dict[str, Any], extra: Limits | Keys) -> dict[str, Any]:
    if isinstance(extra, Keys):
        values = inner["additionalProperties"]
        properties = dict.fromkeys(extra.known(), values)
        return {"type": "object", "properties": properties, "additionalProperties": False}
    ends = ("minItems", "maxItems") if inner.get("type") == "array" else ("minimum", "maximum")
    pairs = zip(ends, (extra.low, extra.high), strict=True)
    bounds = {name: end for name, end in pairs if math.isfinite(end)}
    return {**({"type": "number"} if inner is _NUMBER else inner), **bounds}


def _reference(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}  # holds the place: classes may contain each other
        hints = typing.get_type_hints(cls, include_extras=True)
        definitions[cls.__name__] = {
            "type": "object",
            "description": " ".join((cls.__doc__ or "").partition("\n\n")[0].split()),
            "properties": {f.name: _schema(hints[f.name], definitions) for f in fields(cls)},
            "required": [f.name for f in fields(cls) if not _optional(f)],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{cls.__name__}"}


def _optional(field: Any) -> bool:
    """Return whether a reader may find the field missing; a writer always writes all of them."""
    return field.default is not MISSING or field.default_factory is not MISSING


if __name__ == "__main__":
    print(json.dumps(run_schema(), indent=1, ensure_ascii=False))
