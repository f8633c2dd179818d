"""An adapter as a TOML file, which lies beside its package: ``X.adapter.toml`` for ``X.mlpackage``.

::

    format = 1

    [inputs.x]
    tensor = "spectrogram"
    axes = "1 (z c) f t"
    parts = "imag real"
    nyquist = true

    [outputs.add_66]
    tensor = "freq"
    axes = "1 s (c z) f t"
    parts = "real imag"

The keys are those of `harness.adapters.layout.Port`; ``tensor`` and ``axes`` are required. Every
input and output of the package has a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from harness.adapters.adapter import Adapter
from harness.adapters.layout import Port
from harness.atomic import write_text
from harness.bounded import TOML_LIMIT_BYTES, parse_toml, read_text
from harness.errors import ParityError, one_line

SUFFIX: Final = ".adapter.toml"
FORMAT: Final = 1
_PACKAGES: Final = (".mlpackage", ".mlmodelc")
_KEYS: Final = {row.name: bool if row.type == "bool" else str for row in fields(Port)}
_KINDS: Final = {bool: "true or false", str: "text"}


def adapter_path(package: Path) -> Path:
    """Return where the adapter of a package lies, if it has one."""
    name = package.name
    for suffix in _PACKAGES:
        name = name.removesuffix(suffix)
    return package.with_name(name + SUFFIX)


def adapter_beside(package: Path) -> Adapter | None:
    """Return the adapter beside a package; None if there is none.

    Raises:
        ParityError: as `read_adapter`.
    """
    path = adapter_path(package)
    return read_adapter(path) if path.exists() else None


def read_adapter(path: Path) -> Adapter:
    """Return the adapter in a file.

    Raises:
        ParityError: it can't be read, or is no adapter; the message says where.
    """
    try:
        table = parse_toml(read_text(path, TOML_LIMIT_BYTES, ParityError))
    except ValueError as error:
        raise ParityError(f"{path} is no TOML: {error}") from error
    if table.pop("format", None) != FORMAT:
        raise ParityError(f"{path}: expected format = {FORMAT}; write it with 'parity adapt'")
    strange = sorted(table.keys() - {"inputs", "outputs"})
    if strange:
        raise ParityError(f"{path} has the key {strange[0][:60]!r}; expected inputs and outputs")
    try:
        return Adapter(_ports(table, "inputs"), _ports(table, "outputs"))
    except ParityError as error:
        raise ParityError(f"{path}: {error}") from error


def _ports(table: Mapping[str, Any], kind: str) -> dict[str, Port]:
    found = table.get(kind, {})
    if not isinstance(found, dict):
        raise ParityError(f"{kind} is {one_line(repr(found), 60)}, expected a table of each")
    return {name: _port(f"{kind}.{name}", row) for name, row in found.items()}


def _port(where: str, row: Any) -> Port:
    if not isinstance(row, dict):
        raise ParityError(f"{where} is {one_line(repr(row), 60)}, expected a table")
    for key, value in row.items():
        if key not in _KEYS:
            raise ParityError(f"{where} has the key {key[:60]!r}; expected {', '.join(_KEYS)}")
        if type(value) is not _KEYS[key]:
            raise ParityError(
                f"{where}.{key} is {one_line(repr(value), 60)}, expected {_KINDS[_KEYS[key]]}"
            )
    for key in ("tensor", "axes"):
        if key not in row:
            raise ParityError(f"{where} has no {key!r}")
    try:
        return Port(**row)
    except ParityError as error:
        raise ParityError(f"{where}: {error}") from error


def write_adapter(path: Path, adapter: Adapter) -> None:
    """Write an adapter, whole or not at all."""
    write_text(path, to_toml(adapter))


def to_toml(adapter: Adapter) -> str:
    """Return an adapter as TOML that `read_adapter` reads back as an equal one."""
    lines = [f"# {sentence}" for sentence in map(one_line, adapter.words())]
    lines += ["", f"format = {FORMAT}"]
    for kind, ports in (("inputs", adapter.inputs), ("outputs", adapter.outputs)):
        for name, port in ports.items():
            lines += ["", f"[{kind}.{json.dumps(name)}]"]
            for row in fields(Port):
                value = getattr(port, row.name)
                if value != row.default:
                    lines.append(f"{row.name} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"
