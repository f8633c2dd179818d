"""Values as JSON data and back, as the types of the classes say.

`plain` makes JSON data of dataclasses; `restored` makes them again, and names the place where data
is not what the type says: whoever edits a document by hand, or cuts it off, is told what is wrong.
JSON has no infinity and no NaN, so where a number may be either, the strings ``"inf"``, ``"-inf"``
and ``"nan"`` stand for them. It can spell half a surrogate pair, which is no character and has no
bytes in UTF-8: U+FFFD, the replacement character, stands for one, in what is read and in what is
written.

A type may say more than Python's own does: `Annotated` with `Limits` bounds numbers and lengths,
with `Keys` names the keys of a mapping. What data is held to and what the published schema
(`harness.verdicts.schema`) says of it come from the same annotation.
"""

from __future__ import annotations

import json
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from harness.bounded import MEBIBYTE, parse_json, read_text
from harness.errors import ParityError, RunError
from harness.verdicts.kinds import another_kind

_LONGEST_TEXT: Final = 1 << 20  # of a field for people: a page shows it more than once
_NOUNS: Final = {str: "text", bool: "true or false", int: "a whole number"}
_STAND_INS: Final = ("inf", "-inf", "nan")
_HALF_A_PAIR: Final = re.compile("[\ud800-\udfff]")
_Reader = Callable[[Any, str], Any]
_Document = TypeVar("_Document")
_Kept = TypeVar("_Kept", bound="Document")
_LIMIT_BYTES: Final = 64 * MEBIBYTE  # the document of a complete run has a few


@dataclass(frozen=True)
class Limits:
    """Bounds, inclusive: of a number, which must be finite then, or of the length of a list."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def words(self) -> str:
        """The bounds in words."""
        if self.high == math.inf:
            return f"{self.low:g} or more" if self.low > -math.inf else "a finite number"
        return f"from {self.low:,g} to {self.high:,g}"


@dataclass(frozen=True)
class Keys:
    """The keys that a mapping may have, asked for when it is read; each may be missing."""

    known: Callable[[], Collection[str]]


Finite = Annotated[float, Limits()]
"""A number that is neither infinite nor NaN."""
Count = Annotated[int, Limits(0)]
"""How many of something."""


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
        hint: its type: a dataclass, an enumeration, a literal, ``str``, ``int``, ``float``,
            ``bool``, ``Any``, an optional of these, or a tuple, sequence or mapping of them, all of
            them annotated or not.
        value: JSON data.
        place: where in the document it stands, for messages.

    Raises:
        RunError: the data is not of this type; the message names the place.
    """
    return _reader(hint)(value, place)


def pruned(hint: Any, value: Any) -> Any:
    """Return JSON data without the keys, and beyond the lengths, that the type ``hint`` knows.

    What a command wrote in full becomes what a row keeps of it; whether the rest is right, only
    `restored` tells.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        found, limits = pruned(arguments[0], value), arguments[1]
        bounded = isinstance(limits, Limits) and limits.high < math.inf
        return found[: int(limits.high)] if isinstance(found, list) and bounded else found
    if origin in (types.UnionType, typing.Union):
        return pruned(next(argument for argument in arguments if argument is not type(None)), value)
    if is_dataclass(hint) and isinstance(value, Mapping):
        hints = typing.get_type_hints(hint, include_extras=True)
        return {key: pruned(hints[key], item) for key, item in value.items() if key in hints}
    if origin in (tuple, Sequence) and isinstance(value, (list, tuple)):
        return [pruned(arguments[0], item) for item in value]
    return value


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
        RunError: it is no JSON, no object, of another kind, or of another version.
    """
    try:
        document = parse_json(text)
    except ValueError as error:
        raise RunError(f"not a {noun}: the JSON breaks off or is malformed ({error})") from error
    other = another_kind(document, noun)
    if other:
        raise RunError(f"this is {other}")
    if not isinstance(document, dict) or "schema_version" not in document:
        raise RunError(f"not a {noun}: no schema_version; expected a document of this program")
    found = document.pop("schema_version")
    if found != version or isinstance(found, bool):
        raise RunError(
            f"{noun} has schema version {found!r}, this program reads version {version}; make it "
            "again with this program"
        )
    return document


class Document:
    """A dataclass that is kept as a JSON document of a version.

    Attributes:
        noun: what messages call it.
        version: of its schema.
    """

    noun: ClassVar[str]
    version: ClassVar[int]

    def to_json(self) -> str:
        """Return the document; the same value always gives the same bytes."""
        return document_text({"schema_version": self.version, **plain(self)}, indent=0)

    @classmethod
    def from_json(cls: type[_Kept], text: str) -> _Kept:
        """Read a document that `to_json` wrote.

        Raises:
            RunError: it is none, or one of another schema version.
        """
        found: _Kept = restored(cls, parsed(text, cls.noun, cls.version), cls.noun)
        return found

    @classmethod
    def read(cls: type[_Kept], path: Path) -> _Kept:
        """Return what the document in the file at ``path`` holds.

        Raises:
            RunError: it can't be read, or is no such document; the message names the file.
        """
        return read_document(path, cls.from_json)


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
    if hint in _NOUNS:
        return partial(_leaf, hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return partial(_member, {member.value: member for member in hint})
    if is_dataclass(hint):
        hints = typing.get_type_hints(hint, include_extras=True)
        readers = {field.name: _reader(hints[field.name]) for field in fields(hint)}
        needed = {f.name for f in fields(hint) if f.default is f.default_factory is MISSING}
        return partial(_instance, hint, readers, needed)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return partial(_held, _reader(arguments[0]), arguments[1])
    if origin is Literal:
        return partial(_member, {word: word for word in arguments})
    if origin in (types.UnionType, typing.Union) and type(None) in arguments:
        (inner,) = (_reader(argument) for argument in arguments if argument is not type(None))
        return lambda value, place: None if value is None else inner(value, place)
    if origin is tuple and arguments[-1] is not ...:
        return partial(_few, tuple(_reader(argument) for argument in arguments))
    if origin in (tuple, Sequence):
        return partial(_items, _reader(arguments[0]))
    if origin is Mapping:
        return partial(_entries, _reader(arguments[1]))
    raise TypeError(f"no reader for {hint}: a document holds plain data only")


def _float(value: Any, place: str) -> float:
    if value in _STAND_INS or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        try:
            return float(value)
        except OverflowError:
            pass
    raise _unlike(value, place, "a number")


def _leaf(kind: type, value: Any, place: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _unlike(value, place, _NOUNS[kind])
    if not isinstance(value, str):
        return value
    if len(value) > _LONGEST_TEXT:
        raise _unlike(value, place, f"at most {_LONGEST_TEXT:,} characters")
    return _characters(value)


def _held(reader: _Reader, extra: Limits | Keys, value: Any, place: str) -> Any:
    found = reader(value, place)
    if isinstance(extra, Keys):
        strange = next((key for key in found if key not in extra.known()), None)
        if strange is not None:
            raise _unlike(strange, f"a key of {place}", f"one of {', '.join(extra.known())}")
    elif isinstance(found, tuple):
        if not extra.low <= len(found) <= extra.high:
            raise RunError(f"{place} has a length of {len(found):,}, expected {extra.words}")
    elif not (math.isfinite(found) and extra.low <= found <= extra.high):
        raise _unlike(value, place, extra.words)
    return found


def _member(members: Mapping[str, Any], value: Any, place: str) -> Any:
    if not isinstance(value, str) or value not in members:
        raise _unlike(value, place, f"one of {', '.join(members)}")
    return members[value]


def _items(reader: _Reader, value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _unlike(value, place, "a list")
    return tuple(reader(item, f"{place}[{index}]") for index, item in enumerate(value))


def _few(readers: tuple[_Reader, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) != len(readers):
        raise _unlike(value, place, f"a list of {len(readers)}")
    pairs = zip(readers, value, strict=True)
    return tuple(reader(item, f"{place}[{i}]") for i, (reader, item) in enumerate(pairs))


def _entries(reader: _Reader, value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unlike(value, place, "an object")
    return {_characters(key): reader(item, f"{place}.{key}") for key, item in value.items()}


def _instance(
    kind: Any, readers: Mapping[str, _Reader], needed: set[str], value: Any, place: str
) -> Any:
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
