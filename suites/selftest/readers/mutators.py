"""Seeded damage to files: ``mutate(name, data, chance)`` returns other bytes for a file.

Half of the mutants are bytes changed blindly. The other half stay readable on the outside and lie
inside: an edit knows the format by the file's suffix, and puts values where they hurt. The same
seed gives the same mutant.
"""

from __future__ import annotations

import io
import json
import random
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from harness._coremltools import import_coremltools
from harness.arrayfiles import FOREIGN
from suites.selftest.readers.program_edits import edit_program

Edit = Callable[[bytes, random.Random], bytes]

NUMBERS = [0, 1, -1, 2, 7, 64, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1]
NAMES = [
    "", "x" * 2000, "../../etc/passwd", "/dev/zero", "\udcff", "[/]", "\x1b[2J", "a\nb", "%s", "é",
]  # fmt: skip
VALUES: list[Any] = [
    *NUMBERS, *NAMES, -(2**63), 2**64, 1e308, -1e308, 5e-324, 0.5, True, False, None, [], {}, [[]],
    {"a": None}, [None], ["x"], [1e308, 1e308], "inf", "nan", "1e999", "2026-13-45",
]  # fmt: skip
TEXTS = [
    "1e999", "-1e999", "NaN", "Infinity", "inf", "nan", "1e308", "9" * 5000, "0x" + "f" * 400, "-0",
    "[" * 200, "{" * 200, "(" * 100, '"' * 3, "'", "\\", '"\\ud800"', "a." * 60, "null", "true",
    ",", "1979-05-27T07:32:00Z", "*a", "&a", "<<", "? ", "- " * 50, "[[x]]", "[x]", "=",
    "!!python/object:os.system",
]  # fmt: skip


def mutate(name: str, data: bytes, chance: random.Random) -> bytes:
    """Return a mutant of the file ``name`` with the content ``data``; it may be the same."""
    suffix = name.rpartition(".")[2]
    edits = EDITS.get(suffix, ())
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        edit = chance.choice(edits) if edits and chance.random() < 0.5 else chance.choice(BLIND)
        data = edit(data, chance)
    return data


# --- bytes ----------------------------------------------------------------------------------------


def flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8, 40])):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: int(len(data) * chance.choice([0, 0.001, 0.5, 0.99, chance.random()]))]


def splice(data: bytes, chance: random.Random) -> bytes:
    """Cut something out and put bytes of the file, or random ones, in."""
    start, source = (chance.randrange(len(data) + 1) for _ in range(2))
    length = chance.choice([0, 1, 2, 4, 16, 200])
    new = data[source : source + length] if chance.random() < 0.5 else chance.randbytes(length)
    return data[:start] + new + data[start + chance.choice([0, 0, length, 1]) :]


def repeat(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    piece = data[start : start + chance.choice([1, 8, 64])]
    return data[:start] + piece * chance.choice([2, 50, 500]) + data[start:]


def number(data: bytes, chance: random.Random) -> bytes:
    """Write a number over four or eight bytes, often where fields are aligned."""
    width = chance.choice([2, 4, 8])
    place = chance.randrange(max(1, min(len(data), chance.choice([64, 512, 1 << 30]))))
    place -= place % chance.choice([1, 4])
    value = chance.choice(NUMBERS) % (1 << 8 * width)
    return (
        data[:place]
        + value.to_bytes(width, chance.choice(["little", "big"]))
        + data[place + width :]
    )


BLIND: list[Edit] = [flip, truncate, splice, repeat, number]


# --- JSON and texts -------------------------------------------------------------------------------


def edit_data(node: Any, chance: random.Random) -> Any:
    """Return JSON data with one value, key or item changed, somewhere in it."""
    if isinstance(node, (dict, list)) and node and chance.random() < 0.85:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = chance.choice(keys)
        action = chance.random()
        if action < 0.7:
            node[key] = edit_data(node[key], chance)
        elif action < 0.8:
            del node[key]
        elif isinstance(node, dict):
            node[chance.choice([*NAMES, *list(node)])] = node[key]
        else:
            node.extend([node[key]] * chance.choice([1, 100]))
        return node
    if chance.random() < 0.1:
        deep: Any = 1
        for _ in range(chance.choice([10, 70, 500])):
            deep = [deep] if chance.random() < 0.5 else {"a": deep}
        return deep
    return chance.choice(VALUES)


def edit_json(data: bytes, chance: random.Random) -> bytes:
    try:
        node = json.loads(data)
    except (ValueError, RecursionError):
        return data
    text = json.dumps(edit_data(node, chance), ensure_ascii=chance.random() < 0.8)
    if chance.random() < 0.2:  # a key that is there twice
        text = re.sub(r'("[^"]*": [^,{}\[\]]+),', r"\1, \1,", text, count=chance.choice([1, 3]))
    return text.encode("utf-8", "surrogatepass")


def edit_text(data: bytes, chance: random.Random) -> bytes:
    """Put something else where a word or a number of the text is, or move a line."""
    text = data.decode("utf-8", "replace")
    if chance.random() < 0.3:
        lines = text.split("\n")
        lines.insert(chance.randrange(len(lines) + 1), chance.choice([*TEXTS, *lines]))
        return "\n".join(lines).encode("utf-8", "replace")
    words = list(re.finditer(r"[\w.+-]+|[^\w\s]", text))
    if not words:
        return data
    word = chance.choice(words)
    new = chance.choice([*TEXTS, *map(str, NUMBERS), chance.choice(words)[0], ""])
    return (text[: word.start()] + new + text[word.end() :]).encode("utf-8", "replace")


# --- containers -----------------------------------------------------------------------------------


def edit_riff(data: bytes, chance: random.Random) -> bytes:
    """Change a field of a WAV file's header: sizes, format, channels, rate, bits."""
    fields = [
        (4, "I"),
        (16, "I"),
        (20, "H"),
        (22, "H"),
        (24, "I"),
        (28, "I"),
        (32, "H"),
        (34, "H"),
        (40, "I"),
    ]
    place, kind = chance.choice(fields)
    size = struct.calcsize(kind)
    choices = [*NUMBERS, 3, 24, 32, 100, 1000, 8000, 44_100, 96_000, 10**9, 0xFFFE]
    value = chance.choice(choices) % (1 << 8 * size)
    return data[:place] + struct.pack(f"<{kind}", value) + data[place + size :]


def edit_header(data: bytes, chance: random.Random) -> bytes:
    """Change the header of a safetensors file, and keep its length true; or lie about it."""
    length = int.from_bytes(data[:8], "little")
    if chance.random() < 0.1:
        return (chance.choice(NUMBERS) % 2**64).to_bytes(8, "little") + data[8:]
    head = edit_json(data[8 : 8 + length], chance)
    try:
        table = json.loads(head)
        tensors = [row for row in table.values() if isinstance(row, dict) and "shape" in row]
        row = chance.choice(tensors)
        if chance.random() < 0.5:
            row["dtype"] = chance.choice(
                ["F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "C64"]
            )
        if chance.random() < 0.3:
            row["shape"] = chance.choice(
                [[], [0], [2**62, 4], [1, 4], [4, 1], [0, 2**63], [1] * 90]
            )
        head = json.dumps(table).encode()
    except (ValueError, AttributeError, IndexError, RecursionError):
        pass
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def edit_npy(data: bytes, chance: random.Random) -> bytes:
    """Change the dictionary at the head of an array file."""
    head, inner = data[:10], data[10:]
    shape = chance.choice(
        ["()", "(2,)", "(-1,)", "(10000000000000,)", "(0, 99999999999999999999)", "(2, 3L)", "5"]
    )
    inner = re.sub(rb"'shape': \([^)]*\)", f"'shape': {shape}".encode(), inner)
    if chance.random() < 0.5:
        kind = chance.choice(
            ["<f8", "<f2", "|O", "|S5", "<U3", "<M8[s]", ">i4", "|V8", "x", "|b1", "<c16"]
        )
        inner = re.sub(rb"'descr': '[^']*'", f"'descr': '{kind}'".encode(), inner)
    length = inner.find(b"\n") + 1
    return (
        head[:6]
        + chance.choice([b"\1\0", b"\2\0", b"\3\0", b"\1\0"])
        + struct.pack("<H", length)
        + inner
    )


def edit_zip(data: bytes, chance: random.Random) -> bytes:
    """Change a part of an archive and write it again; or lie in its directory."""
    out = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as source:
            parts = {item.filename: source.read(item) for item in source.infolist()}
    except FOREIGN:
        return data
    if not parts:
        return data
    name = chance.choice(sorted(parts))
    inner = edit_npy if name.endswith(".npy") and chance.random() < 0.7 else chance.choice(BLIND)
    parts[name] = inner(parts[name], chance)
    if chance.random() < 0.1:
        parts[chance.choice(["../x", "x" * 500, "é", ""]) + name] = parts.pop(name)
    method = chance.choice(
        [zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]
    )
    with zipfile.ZipFile(out, "w", method) as target:
        for key, content in parts.items():
            target.writestr(key, content)
    written = out.getvalue()
    if chance.random() < 0.3:  # sizes in the central directory
        place = written.rfind(b"PK\1\2") + chance.choice([10, 16, 20, 24, 42])
        value = (chance.choice(NUMBERS) % 2**32).to_bytes(4, "little")
        written = written[:place] + value + written[place + 4 :]
    return written


def edit_model(data: bytes, chance: random.Random) -> bytes:
    """Change a program's meaning in a protocol buffer that stays sound."""
    import_coremltools()
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    message = Model_pb2.Model()
    try:
        message.ParseFromString(data)
        edit_program(message, chance)
        return bytes(message.SerializeToString())
    except (DecodeError, KeyError, StopIteration, IndexError):
        return data


EDITS: dict[str, list[Edit]] = {
    "json": [edit_json],
    "toml": [edit_text],
    "yaml": [edit_text],
    "mil": [edit_text],
    "wav": [edit_riff],
    "safetensors": [edit_header],
    "npy": [edit_npy],
    "npz": [edit_zip],
    "th": [edit_zip],
    "mlmodel": [edit_model],
}
