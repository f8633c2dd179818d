"""Golden recipes: which signals there are, how each is made, and what is kept of it.

In: a TOML file with one table ``[case.NAME]`` for each case::

    [case.noise]
    kind = "noise"            # a signal of harness.subjects.signals, or "song"
    why = "every frequency at once, at the level of ordinary music"
    seed = 42                 # the kind's parameters: all of them, no others
    level_db = -20.0
    taps = true               # keep the inner tensors too (default: false)

``length`` is in samples (default: one segment, 343,980). ``scope`` is ``segment`` (default: one
forward pass, its inputs and outputs) or ``file`` (a signal of several segments, its stems alone).
``floor_db`` puts white noise of that RMS (dBFS) under the signal.

Where a network is declared by a ``parity.toml``, its cases stand there. What they leave out is as
in ``[case.example]``, ``kind = "example"``, ``gain_db = 0.0``, ``taps = true``: inputs as declared,
drawn by ``seed``; ``file`` holds inputs that are not drawn. ``calls`` is how often a network with
states is called, each time with what the call before it left in them (default: once).

Out: `Case` values. A recipe leaves nothing to defaults that lie elsewhere, so what it makes can't
change without its hash.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from harness.audio.contract import SEGMENT_LENGTH
from harness.bounded import TOML_LIMIT_BYTES, parse_toml, read_text
from harness.digests import sha256
from harness.errors import RecipeError, UnknownNameError
from harness.golden.records import FORMAT

SONG: Final = "song"
"""The kind that is no single signal but a mixture of stems; its one parameter is a seed."""
EXAMPLE: Final = "example"
"""The kind that is no signal: inputs as the network says that they are."""
SCOPES: Final = ("segment", "file")
MOST_CALLS: Final = 1000

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_COMMON: Final = ("kind", "why", "length", "scope", "taps", "floor_db", "file", "calls")
_ONLY_EXAMPLE: Final = {EXAMPLE: {"seed": 0}}
"""The cases of a declaration that names none."""


@dataclass(frozen=True)
class Case:
    """One input signal and what is kept of it.

    Attributes:
        name: as in ``recipes.toml``; lower case, digits and underscores.
        kind: a key of `kinds`.
        parameters: what the kind is made with.
        why: what the case shows that the others don't.
        length: samples.
        scope: ``segment`` or ``file``.
        taps: whether the inner tensors are kept, too.
        floor_db: RMS in dBFS of the noise under the signal, or None for no noise.
        file: with inputs of an example, or None.
        content: SHA-256 of that file.
        calls: how often the network is called, each time with the states that the last call left.
    """

    name: str
    kind: str
    parameters: Mapping[str, float | int]
    why: str
    length: int = SEGMENT_LENGTH
    scope: str = "segment"
    taps: bool = False
    floor_db: float | None = None
    file: Path | None = None
    content: str = ""
    calls: int = 1

    @property
    def seed(self) -> int | None:
        """The seed of the signal, or None where nothing is random."""
        seed = self.parameters.get("seed")
        return None if seed is None else int(seed)

    @property
    def is_file(self) -> bool:
        """Whether the case is an audio file of several segments."""
        return self.scope == "file"

    @property
    def hash(self) -> str:
        """SHA-256, as hex, of everything that decides the tensors."""
        decisive: dict[str, Any] = {
            "format": FORMAT,
            "kind": self.kind,
            "parameters": dict(self.parameters),
            "length": self.length,
            "scope": self.scope,
            "taps": self.taps,
        }
        if self.floor_db is not None:  # only then: other goldens keep their hash
            decisive["floor_db"] = self.floor_db
        if self.content:
            decisive["content"] = self.content
        if self.calls > 1:
            decisive["calls"] = self.calls
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


@functools.cache
def kinds() -> Mapping[str, Mapping[str, type]]:
    """Return the kinds of signals, each with its parameters and their types."""
    from harness.subjects.signals import SIGNALS  # the package around it imports torch

    table: dict[str, Mapping[str, type]] = {
        SONG: MappingProxyType({"seed": int}),
        EXAMPLE: MappingProxyType({"seed": int, "gain_db": float}),
    }
    for name, function in SIGNALS.items():
        parameters = inspect.signature(function, eval_str=True).parameters
        types = {key: row.annotation for key, row in parameters.items() if key != "length"}
        table[name] = MappingProxyType(types)
    return MappingProxyType(table)


def load_cases(path: Path) -> dict[str, Case]:
    """Read the cases of a recipe file, in the order of the file.

    Raises:
        RecipeError: the file can't be read, or a recipe is wrong; the message names the case, the
            key and what was expected.
        UnknownNameError: a kind, a parameter or a scope that doesn't exist.
    """
    try:
        document = parse_toml(read_text(path, TOML_LIMIT_BYTES, RecipeError))
    except RecipeError as error:
        raise RecipeError(
            f"no golden recipes: {error}; "
            "run in the project's folder, or name the folder that holds recipes.toml"
        ) from error
    except ValueError as error:
        raise RecipeError(f"{path} is no TOML file ({error}); correct it") from error
    if "factory" in document:  # what else stands there, `harness.subjects.declared` reads
        tables = document.get("case", _ONLY_EXAMPLE)
        if isinstance(tables, dict):
            tables = {name: _filled(table) for name, table in tables.items()}
    else:
        tables = document.get("case")
        for key in document:
            if key != "case":
                raise UnknownNameError(f"key in {path}", key, ["case"])
    if not isinstance(tables, dict) or not tables:
        raise RecipeError(f"{path} has no cases; expected tables like [case.noise]")
    return {name: _case(path, name, table) for name, table in tables.items()}


def _filled(table: Any) -> Any:
    """Return a declared case with what is usual where it says nothing."""
    if not isinstance(table, dict):
        return table
    kind = table.get("kind", EXAMPLE)
    usual: dict[str, Any] = {"kind": kind, "why": f"It is declared: {kind}.", "taps": True}
    if kind == EXAMPLE:
        usual |= {"seed": 0, "gain_db": 0.0}
    if table.get("scope") == "file":
        usual["taps"] = False
    return usual | table


def _file(where: str, folder: Path, table: Mapping[str, Any]) -> Path | None:
    if "file" not in table:
        return None
    if table.get("kind") != EXAMPLE:
        raise RecipeError(f"{where}: only a case of the kind {EXAMPLE!r} has a 'file'; drop it")
    return folder / str(_value(where, table, "file", str))


def _case(path: Path, name: str, table: Any) -> Case:
    where = f"[case.{name}] in {path}"
    if not _NAME.fullmatch(name):
        raise RecipeError(f"{where}: a name has lower-case letters, digits and underscores")
    if not isinstance(table, dict):
        raise RecipeError(f"{where} is {table!r}, expected a table")
    kind = _value(where, table, "kind", str)
    if kind not in kinds():
        raise UnknownNameError(f"kind of {where}", kind, kinds())
    types = kinds()[kind]
    for key in table:
        if key not in types and key not in _COMMON:
            raise UnknownNameError(f"key in {where}", key, [*_COMMON, *types])
    scope = _value(where, table, "scope", str, "segment")
    if scope not in SCOPES:
        raise UnknownNameError(f"scope of {where}", scope, SCOPES)
    file = _file(where, path.parent, table)
    case = Case(
        name=name,
        kind=kind,
        parameters=MappingProxyType(
            {key: _value(where, table, key, type_) for key, type_ in sorted(types.items())}
        ),
        why=_value(where, table, "why", str).strip(),
        length=_value(where, table, "length", int, SEGMENT_LENGTH),
        scope=scope,
        taps=_value(where, table, "taps", bool, False),
        floor_db=_value(where, table, "floor_db", float) if "floor_db" in table else None,
        file=file,
        content="" if file is None else _content(file),
        calls=_value(where, table, "calls", int, 1),
    )
    _check_consistency(where, case)
    return case


def _check_consistency(where: str, case: Case) -> None:
    if not case.why:
        raise RecipeError(f"{where}: 'why' is empty; say what this case shows that others don't")
    if case.length < 1:
        raise RecipeError(f"{where}: length is {case.length}, expected at least 1 sample")
    if case.scope == "file" and case.taps:
        raise RecipeError(f"{where}: a file has no taps, it is many segments; drop 'taps'")
    if case.floor_db is not None and case.kind in (SONG, EXAMPLE):
        raise RecipeError(f"{where}: a {case.kind} has no noise under it; drop 'floor_db'")
    if case.kind == EXAMPLE and case.is_file:
        raise RecipeError(f"{where}: an example is no audio file; drop 'scope'")
    if not 1 <= case.calls <= MOST_CALLS:
        raise RecipeError(f"{where}: calls is {case.calls}, expected 1 to {MOST_CALLS}")
    if case.kind != EXAMPLE and case.calls > 1:
        raise RecipeError(f"{where}: only a case of the kind {EXAMPLE!r} has 'calls'; drop it")
    if (case.seed or 0) < 0:
        raise RecipeError(f"{where}: seed is {case.seed}, expected 0 or more")


def _content(file: Path) -> str:
    """Return the SHA-256 of a case's file."""
    if file.exists() and not file.is_file():  # a pipe or a device might never end
        raise RecipeError(f"{file} is no regular file")
    try:
        return sha256(file)
    except OSError as error:
        raise RecipeError(f"{file} can't be read: {error.strerror}") from error


_MISSING: Final = object()


def _value(
    where: str, table: Mapping[str, Any], key: str, type_: type, default: Any = _MISSING
) -> Any:
    """Return ``table[key]`` as ``type_``; a whole number may stand for a float."""
    value = table.get(key, default)
    if value is _MISSING:
        raise RecipeError(f"{where} has no {key!r}; expected a {type_.__name__}")
    if type_ is float and type(value) is int:
        value = float(value)
    if type(value) is not type_:  # a bool is an int to isinstance
        raise RecipeError(f"{where}: {key} is {value!r}, expected a {type_.__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeError(f"{where}: {key} is {value!r}, expected a finite number")
    return value
