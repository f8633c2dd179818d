"""Values as JSON data and back, as the types of the classes say.

`plain` makes JSON data of dataclasses; `restored` makes them again, and names the place where data
is not what the type says: whoever edits a document by hand, or cuts it off, is told what is wrong.
JSON has no infinity and no NaN, so where a number may be either, the strings ``"inf"``, ``"-inf"``
and ``"nan"`` stand for them. It can spell half a surrogate pair, which is no character and has no
bytes in UTF-8: U+FFFD, the replacement character, stands for one, in what is read and in what is
written.
"""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.bounded import MEBIBYTE, parse_json, read_text
from harness.errors import ParityError, RunError

_LONGEST_TEXT: Final = 1 << 20  # of a field for people: a page shows it more than once
_STAND_INS: Final = ("inf", "-inf", "nan")
_HALF_A_PAIR: Final = re.compile("[\ud800-\udfff]")
_Reader = Callable[[Any, str], Any]
_Document = TypeVar("_Document")
_LIMIT_BYTES: Final = 64 * MEBIBYTE  # the document of a complete run has a few


def plain(value: Any) -> Any:
    """Return ``value`` as JSON data: dataclasses as objects, no infinity, no NaN."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise RunError(f"a run can't hold a {type(value).__name__}; convert it to plain Python first")


def restored(hint: Any, value: Any, place: str) -> Any:
    """Return what `plain` made ``value`` of.

    Args:
        hint: its type: a dataclass, an enumeration, ``str``, ``int``, ``float``, ``bool``, ``Any``,
            an optional of these, or a tuple, sequence or mapping of them.
        value: JSON data.
        place: where in the document it stands, for messages.

    Raises:
        RunError: the data is not of this type; the message names the place.
    """
    return _reader(hint)(value, place)


def document_text(document: Mapping[str, Any], indent: int) -> str:
    """Return JSON data as the text of a document, which has bytes in UTF-8."""
    text = json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)
    return _characters(text) + "\n"


def read_document(path: Path, parse: Callable[[str], _Document]) -> _Document:
    """Return what ``parse`` makes of the text in the file at ``path``.

    Raises:
        RunError: the file can't be read, or is no such document; the message names it.
    """
    text = read_text(path, _LIMIT_BYTES, RunError)
    try:
        return parse(text)
    except RunError as error:
        raise RunError(f"{path}: {error}") from error


def parsed(text: str, noun: str, version: int) -> dict[str, Any]:
    """Return the object in a JSON document that carries a schema version.

    Raises:
        RunError: it is no JSON, no object, or of another version.
    """
    try:
        document = parse_json(text)
    except ValueError as error:
        raise RunError(f"not a {noun}: the JSON breaks off or is malformed ({error})") from error
    if not isinstance(document, dict) or "schema_version" not in document:
        raise RunError(f"not a {noun}: no schema_version; expected a document of this program")
    found = document.pop("schema_version")
    if found != version or isinstance(found, bool):
        raise RunError(
            f"{noun} has schema version {found!r}, this program reads version {version}; make it "
            "again with this program"
        )
    return document


def numbers(value: Any) -> Any:
    """Return JSON data with the strings that stand for infinity and NaN as numbers again."""
    if isinstance(value, dict):
        return {_characters(key): numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    if isinstance(value, str):
        return float(value) if value in _STAND_INS else _characters(value)
    return value


def _characters(text: str) -> str:
    return text if text.isascii() else _HALF_A_PAIR.sub("\ufffd", text)


@cache
def _reader(hint: Any) -> _Reader:
    if hint is Any:
        return lambda value, place: numbers(value)
    if hint is float:
        return _float
    if hint in (str, bool, int):
        return _leaf(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _member(hint)
    if is_dataclass(hint):
        return _instance(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) and type(None) in arguments:
        (inner,) = (_reader(argument) for argument in arguments if argument is not type(None))
        return lambda value, place: None if value is None else inner(value, place)
    if origin in (tuple, Sequence):
        return _items(_reader(arguments[0]))
    if origin is Mapping:
        return _entries(_reader(arguments[1]))
    raise TypeError(f"no reader for {hint}: a document holds plain data only")


def _float(value: Any, place: str) -> float:
    if value in _STAND_INS or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        try:
            return float(value)
        except OverflowError:
            pass
    raise _unlike(value, place, "a number")


def _leaf(kind: type) -> _Reader:
    noun = {str: "text", bool: "true or false", int: "a whole number"}[kind]

    def read(value: Any, place: str) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise _unlike(value, place, noun)
        if not isinstance(value, str):
            return value
        if len(value) > _LONGEST_TEXT:
            raise _unlike(value, place, f"at most {_LONGEST_TEXT:,} characters")
        return _characters(value)

    return read


def _member(kind: type[Enum]) -> _Reader:
    members = {member.value: member for member in kind}

    def read(value: Any, place: str) -> Any:
        if not isinstance(value, str) or value not in members:
            raise _unlike(value, place, f"one of {', '.join(members)}")
        return members[value]

    return read


def _items(reader: _Reader) -> _Reader:
    def read(value: Any, place: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _unlike(value, place, "a list")
        return tuple(reader(item, f"{place}[{index}]") for index, item in enumerate(value))

    return read


def _entries(reader: _Reader) -> _Reader:
    def read(value: Any, place: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _unlike(value, place, "an object")
        return {_characters(key): reader(item, f"{place}.{key}") for key, item in value.items()}

    return read


def _instance(kind: Any) -> _Reader:
    hints = typing.get_type_hints(kind)
    readers = {field.name: _reader(hints[field.name]) for field in fields(kind)}
    needed = {
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    }

    def read(value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            raise _unlike(value, place, "an object")
        _same_keys(value, needed, readers, place)
        given = {name: readers[name](item, f"{place}.{name}") for name, item in value.items()}
        try:
            return kind(**given)
        except RunError:
            raise
        except ParityError as error:
            raise RunError(f"{place}: {error}") from error

    return read


def _same_keys(
    value: Mapping[str, Any], needed: set[str], known: Mapping[str, Any], place: str
) -> None:
    missing, strange = sorted(needed - set(value)), sorted(set(value) - set(known))
    if missing:
        raise RunError(f"{place} has no {missing[0]!r}; the document is not whole, make it again")
    if strange:
        raise RunError(
            f"{place} has the unknown key {strange[0]!r} (known: {', '.join(sorted(known))}); it "
            "was not written by this version, make it again"
        )


def _unlike(value: Any, place: str, wanted: str) -> RunError:
    shown = json.dumps(value, ensure_ascii=False)
    shown = shown if len(shown) <= 60 else f"{shown[:59]}…"
    return RunError(f"{place} is {shown}, expected {wanted}")
