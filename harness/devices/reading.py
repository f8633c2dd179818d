"""Device profiles as TOML files: reading them, and those that are shipped.

A file looks like this; every line says who published it and how sure it is::

    name = "ane-m1"
    unit = "ane"
    description = "..."

    [facts.product_ceiling]
    value = 32768.0
    source = "..."
    confidence = "high"
    basis = "measured"

    [unknowns.normalisation]
    assumed = "rounded_once"
    variants = ["rounded_once", "stages"]
    reason = "..."
    source = "..."
    confidence = "low"
    basis = "inferred"

    [tables.sigmoid]
    kind = "points"
    domain = [-8.0, 8.0]
    knots = 33
    values = "rounded"
    below = { at = -9.9375, slope = 0.0, offset = 0.0 }
    above = { at = 8.3203125, slope = 0.0, offset = 1.0 }
    source = "..."
    confidence = "high"
    basis = "measured"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from harness.bounded import TOML_LIMIT_BYTES, parse_toml, read_text
from harness.devices.profile import Fact, Origin, Profile, ProfileError, Table, Tail, Unknown
from harness.devices.reference import FUNCTIONS
from harness.errors import ParityError, require_known

_FOLDER = files("harness.devices").joinpath("profiles")
_NUMBER = (int, float)
_ORIGIN = {"source": str, "confidence": str, "basis": str}
_PROFILE = {
    "name": str,
    "unit": str,
    "description": str,
    "facts": dict,
    "unknowns": dict,
    "tables": dict,
}
_FACT = {"value": (str, *_NUMBER), **_ORIGIN}
_UNKNOWN = {"assumed": (str, *_NUMBER), "variants": list, "reason": str, **_ORIGIN}
_TABLE = {
    "kind": str,
    "domain": list,
    "knots": int,
    "values": str,
    "odd": bool,
    "below": dict,
    "above": dict,
    **_ORIGIN,
}
_TAIL = {"at": _NUMBER, "slope": _NUMBER, "offset": _NUMBER}
_OPTIONAL = {"tables", "odd", "below", "above"}

T = TypeVar("T")


@cache
def shipped_profiles() -> Mapping[str, Profile]:
    """Return the profiles that come with the harness, by name."""
    profiles = [
        parse_profile(entry.read_text(encoding="utf-8"), entry.name)
        for entry in _FOLDER.iterdir()
        if entry.name.endswith(".toml")
    ]
    return MappingProxyType({p.name: p for p in sorted(profiles, key=lambda p: p.name)})


def load_profile(name_or_path: str | Path) -> Profile:
    """Return a shipped profile by its name, or any by the path of a TOML file.

    A string that ends in ``.toml`` is a path.

    Raises:
        UnknownNameError: no shipped profile has this name.
        ProfileError: the file can't be read, or is wrong; the message has the file and the key.
    """
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        return parse_profile(read_text(path, TOML_LIMIT_BYTES, ProfileError), str(path))
    known = shipped_profiles()
    require_known("device profile", known, name_or_path)
    return known[name_or_path]


def parse_profile(content: str, where: str) -> Profile:
    """Return the profile that the TOML text ``content`` describes.

    Args:
        content: TOML.
        where: file name for messages.

    Raises:
        ProfileError: the text is no TOML or no profile; the message has ``where`` and the key.
    """
    try:
        table = parse_toml(content)
    except ValueError as error:
        raise ProfileError(f"{where}: not valid TOML: {error}") from error
    return _named(where, partial(_profile, table))


def _profile(table: dict[str, Any]) -> Profile:
    _check(table, _PROFILE)
    return Profile(
        name=table["name"],
        unit=table["unit"],
        description=table["description"],
        facts=_each("facts", table["facts"], _fact),
        unknowns=_each("unknowns", table["unknowns"], _unknown),
        tables=_each("tables", table.get("tables", {}), _table),
    )


def _each(kind: str, entries: dict[str, Any], read: Callable[[str, Any], T]) -> Mapping[str, T]:
    return MappingProxyType(
        {name: _named(f"{kind}.{name}", partial(read, name, e)) for name, e in entries.items()}
    )


def _named(where: str, read: Callable[[], T]) -> T:
    """Return what ``read`` returns; what it refuses is refused with the place in front."""
    try:
        return read()
    except ParityError as error:
        raise ProfileError(f"{where}: {error}") from error


def _fact(name: str, entry: Any) -> Fact:
    _check(entry, _FACT)
    return Fact(name, entry["value"], _origin(entry))


def _unknown(name: str, entry: Any) -> Unknown:
    _check(entry, _UNKNOWN)
    variants = tuple(entry["variants"])
    return Unknown(name, entry["assumed"], variants, entry["reason"], _origin(entry))


def _table(name: str, entry: Any) -> Table:
    require_known("function", FUNCTIONS, name)
    _check(entry, _TABLE)
    domain = entry["domain"]
    if len(domain) != 2 or not all(isinstance(end, _NUMBER) for end in domain):
        raise ProfileError(f"domain: expected two numbers, found {domain!r}")
    return Table(
        function=name,
        kind=entry["kind"],
        domain=(float(domain[0]), float(domain[1])),
        knots=entry["knots"],
        values=entry["values"],
        odd=entry.get("odd", False),
        below=_tail(entry.get("below")),
        above=_tail(entry.get("above")),
        origin=_origin(entry),
    )


def _tail(entry: dict[str, Any] | None) -> Tail | None:
    if entry is None:
        return None
    _check(entry, _TAIL)
    return Tail(float(entry["at"]), float(entry["slope"]), float(entry["offset"]))


def _origin(entry: dict[str, Any]) -> Origin:
    return Origin(entry["source"], entry["confidence"], entry["basis"])


def _check(table: Any, known: Mapping[str, Any]) -> None:
    if not isinstance(table, dict):
        raise ProfileError(f"expected a table, found {table!r}")
    for key, value in table.items():
        require_known("key", known, key)
        kinds = known[key] if isinstance(known[key], tuple) else (known[key],)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise ProfileError(f"key {key!r}: expected {expected}, found {value!r}")
    missing = [key for key in known if key not in table and key not in _OPTIONAL]
    if missing:
        raise ProfileError(f"key {missing[0]!r} is missing; expected {', '.join(known)}")
