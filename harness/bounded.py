"""Files from strangers: opened only if they are regular files, and read within a bound.

A path may lead to a pipe that nobody writes to, to a device without an end, or to a file that says
that it is terabytes long; a text of a megabyte may be nested so deeply, or spell such numbers, that
reading it takes hours or ends in a foreign error. Every reader of this project opens files and
parses JSON and TOML here, so that a limit is a number at the call and a refusal is one sentence.

The functions with an argument ``error`` raise that class of error, with a message that names the
file; `parse_json` and `parse_toml` raise ValueError and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Final

from harness.errors import ParityError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MEBIBYTE: Final = 1 << 20
TOML_LIMIT_BYTES: Final = 1 << 20
"""Of any TOML file here; the largest that this project wrote has 9 kB."""

_MAX_DEPTH: Final = 64  # of JSON and TOML; what this project writes has less than 12
_MAX_VALUES: Final = 2_000_000  # of JSON; the document of a complete run has 100,000
_MAX_DIGITS: Final = 24  # of a whole number: 64 bits are 20
# tomllib takes time and memory that grow with the square of a key's parts, for each of them.
_LONG_KEY: Final = re.compile(
    r"""(?<![\w"'-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){32}"""
)
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path, limit_bytes: int, error: type[ParityError]) -> BinaryIO:
    """Open the regular file at ``path`` for reading bytes; the caller closes it.

    Args:
        path: a file, or a link to one.
        limit_bytes: the most bytes that it may have.
        error: what is raised.

    Raises:
        ParityError: of class ``error``: nothing is there, it can't be opened, is no regular file
            (a pipe, a device, ...), or is larger.
    """
    try:
        # Looked at before it is opened, because that alone can set a device going, and after,
        # because it may have become another one. Without O_NONBLOCK, a pipe waits for a writer.
        _refuse_special(path, os.stat(path), error)  # noqa: PTH116 - one call for both
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as problem:  # ValueError: a null character in the name
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{path} can't be read: {reason}") from problem
    try:
        status = os.fstat(descriptor)
        _refuse_special(path, status, error)
        if status.st_size > limit_bytes:
            raise error(
                f"{path} has {status.st_size:,} bytes; expected at most {limit_bytes:,}, more than "
                "any sound file of its kind"
            )
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit_bytes: int, error: type[ParityError]) -> bytes:
    """Return the content of the regular file at ``path``.

    Raises:
        ParityError: as `open_regular`, or reading fails.
    """
    with open_regular(path, limit_bytes, error) as file:
        try:
            content = file.read(limit_bytes + 1)
        except OSError as problem:
            raise error(f"{path} can't be read: {problem.strerror}") from problem
    if len(content) > limit_bytes:  # it grew, or is one of the kernel's files, which have no size
        raise error(f"{path} has more than {limit_bytes:,} bytes")
    return content


def read_text(path: Path, limit_bytes: int, error: type[ParityError]) -> str:
    """Return the content of a text file in UTF-8.

    Raises:
        ParityError: as `read_regular`, or it is no UTF-8.
    """
    try:
        return read_regular(path, limit_bytes, error).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is no text in UTF-8 (at byte {problem.start:,})") from problem


def read_json(path: Path, limit_bytes: int, error: type[ParityError]) -> Any:
    """Return the content of a JSON file.

    Raises:
        ParityError: as `read_text`, or it is no JSON that `parse_json` takes.
    """
    text = read_text(path, limit_bytes, error)
    try:
        return parse_json(text)
    except ValueError as problem:
        raise error(f"{path} can't be read as JSON: {problem}") from problem


def parse_json(text: str) -> Any:
    """Return JSON data.

    Raises:
        ValueError: ``text`` is malformed, nested more than 64 times, has a key twice, a number
            that 64 bits don't hold (NaN and Infinity, which JSON lacks, included), or more than two
            million values.
    """
    if sum(map(text.count, ",[{")) > _MAX_VALUES:  # three bytes of text may take 70 of memory
        raise ValueError(f"it has more than {_MAX_VALUES:,} values")
    try:
        data = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_float=_finite,
            parse_int=_integer,
            parse_constant=_no_number,
        )
    except RecursionError as problem:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} times") from problem
    _refuse_depth(data)
    return data


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table that a TOML text describes.

    Raises:
        ValueError: ``text`` is malformed, nested more than 64 times, has a key of more than 32
            parts, or a whole number that 64 bits don't hold.
    """
    long_key = _LONG_KEY.search(text)
    if long_key is not None:
        raise ValueError(f"the key that begins with {long_key[0][:40]!r} has more than 32 parts")
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except RecursionError as problem:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} times") from problem
    _refuse_depth(table)
    return table


def _refuse_special(path: Path, status: os.stat_result, error: type[ParityError]) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for test, name in _KINDS if test(status.st_mode)), "no file")
        raise error(f"{path} is {kind}; expected a regular file")


def _refuse_depth(data: Any) -> None:
    """Refuse what later steps, which call themselves for each level, could not walk through."""
    level: list[Any] = [[data]]
    for _ in range(_MAX_DEPTH + 1):
        level = [item for container in level for item in _items(container)]
        if not level:
            return
    raise ValueError(f"it is nested more than {_MAX_DEPTH} times")


def _items(container: Any) -> Iterable[Any]:
    """Return what a container holds that may hold more, and refuse its numbers of too many bits."""
    values = container.values() if isinstance(container, dict) else container
    found = []
    for value in values:
        if isinstance(value, (dict, list)):
            found.append(value)
        elif isinstance(value, int) and value.bit_length() > 64:
            raise ValueError(f"it has a whole number of {value.bit_length()} bits")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:40]!r} is there twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:40]} is too large for 64 bits")
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"the number {text[:40]} has {len(text)} digits")
    return int(text)


def _no_number(name: str) -> float:
    raise ValueError(f'{name} is no JSON; such a number is written as a string, like "inf"')
