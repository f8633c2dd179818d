"""Contents that are sound on the outside and cost more than anybody has, each by hand."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
import torch

from harness._coremltools import import_coremltools
from harness.bounded import parse_json, parse_toml
from harness.errors import CheckpointError
from harness.subjects.locate import locate_given
from suites.selftest.readers import trials
from suites.selftest.readers.readers import TINY

DEEP = 100_000

TEXTS = {
    "nested": {
        "json": b"[" * DEEP,
        "objects.json": b'{"a":' * DEEP,
        "toml": b"x = " + b"[" * DEEP,
        "tables.toml": b"x = " + b"{a = " * DEEP,
        "yaml": b"[" * 60_000,
        "mil": b"program(1.0)\n[a = tensor<fp32, []>(" + b"[" * DEEP,
    },
    "a key of many parts": {
        "toml": b"a." * DEEP + b"b = 1",
        "tables.toml": b"[" + b"'a' . " * DEEP + b"b]",
    },
    "a number of many digits": {
        "json": b'{"schema_version": ' + b"9" * DEEP + b"}",
        "toml": b"x = " + b"9" * DEEP,
        "hexadecimal.toml": b"x = 0x" + b"f" * DEEP,
        "yaml": b"models: " + b"9" * 60_000,
        "mil": b"program(" + b"9" * DEEP + b")",
    },
    "aliases of aliases": {
        "yaml": b"\n".join(
            b"%c: &%c [%s]" % (c, c, b", ".join([b"*%c" % (c - 1)] * 9) if c > 97 else b"lol")
            for c in b"abcdefghij"
        )
    },
}


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_that_would_take_hours_are_refused(bench, kind):
    for name in bench.files:
        for suffix, content in TEXTS[kind].items():
            if name.endswith("." + suffix.rpartition(".")[2]) and "aside" not in name:
                assert bench.content(name, content, kind), f"{name} was taken"


NUMBER = re.compile(rb"(?<![\w.\"-])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.\"])")
"""A number of JSON, TOML or YAML; not the digits of a name, a version or a hash."""
ODD_NUMBERS = (b"9" * 400, b"1e308", b"nan", b".inf", b"-1", b"0")
NUMBERS_TRIED = 20
"""Of one file, spread over it."""


@pytest.mark.parametrize(
    "odd",
    [ODD_NUMBERS[0], *(pytest.param(odd, marks=pytest.mark.exhaustive) for odd in ODD_NUMBERS[1:])],
    ids=lambda odd: odd[:8].decode(),
)
def test_any_number_may_be_odd(bench, odd):
    for name, data in bench.files.items():
        if name.endswith((".json", ".toml", ".yaml")):
            found = list(NUMBER.finditer(data))
            for place in found[:: len(found) // NUMBERS_TRIED + 1]:
                changed = data[: place.start()] + odd + data[place.end() :]
                bench.content(name, changed, f"{place[0]!r} at {place.start()} is {odd[:8]!r}")


def model(fill: Callable[[object], None]) -> bytes:
    """A model file that says what a program does, and whatever ``fill`` puts into its block."""
    import_coremltools()
    from coremltools.proto import Model_pb2

    message = Model_pb2.Model(specificationVersion=9)
    message.mlProgram.version = 1
    function = message.mlProgram.functions["main"]
    function.opset = "CoreML8"
    fill(function.block_specializations["CoreML8"])
    return bytes(message.SerializeToString())


def many_operations(block: object) -> None:
    block.operations.add(type="x")
    block.operations.MergeFrom(list(block.operations) * 49_999)


def many_values(block: object) -> None:
    value = block.operations.add(type="const").attributes["val"]
    value.type.listType.type.tensorType.dataType = 2
    items = value.immediateValue.list.values
    item = items.add()
    item.type.tensorType.dataType = 2
    item.immediateValue.tensor.strings.values.append("")
    items.MergeFrom([item] * 700_000)


def archive(**parts: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in parts.items():
            target.writestr(name.replace("__", "."), content)
    return out.getvalue()


def many_objects() -> bytes:
    """A checkpoint whose pickle makes a list of every byte."""
    out = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, out)
    changed = io.BytesIO()
    with zipfile.ZipFile(out) as source, zipfile.ZipFile(changed, "w") as target:
        for item in source.infolist():
            is_pickle = item.filename.endswith("data.pkl")
            data = b"\x80\x02(" + b"]" * (4 << 20) + b"l." if is_pickle else source.read(item)
            target.writestr(item.filename, data[: 4 << 20] if is_pickle else data)
    return changed.getvalue()


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def zeros_npy(size: int) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    )
    return out.getvalue()


def wav(rate: int, channels: int, frames: int, samples: bytes) -> bytes:
    head = struct.pack("<IHHIIHH", 16, 1, channels, rate, 2 * channels * rate, 2 * channels, 16)
    size = struct.pack("<I", 2 * channels * frames)
    return b"RIFF" + size + b"WAVEfmt " + head + b"data" + size + samples


MEBIBYTE = 1 << 20
BOMBS: dict[str, Callable[[], bytes]] = {
    "long name.json": lambda: b'{"schema_version": 1, "%s": 1}' % (b"x" * 60 * MEBIBYTE),
    "longer name.json": lambda: b'{"schema_version": 1, "%s": 1}' % (b"x" * 100 * MEBIBYTE),
    "numbers.json": lambda: b"[" + b"1," * 1_999_990 + b"1]",
    "objects.json": lambda: b"[" + b"{}," * 999_990 + b"1]",
    "more objects.json": lambda: b"[" + b"{}," * 20_000_000 + b"1]",
    "names.json": lambda: (
        b'{"schema_version": 1'
        + b"".join(b',"%d":[{}]' % number for number in range(600_000))
        + b"}"
    ),
    "keys.toml": lambda: b"".join(b"k%d=1\n" % number for number in range(100_000)),
    "tables.toml": lambda: b"".join(b"[t%d.a.b.c]\n" % number for number in range(60_000)),
    "numbers.toml": lambda: b"x = [" + b"1," * 520_000 + b"]",
    "long name.toml": lambda: b"%s = 1" % (b"x" * 1_000_000),
    "values.yaml": lambda: b"models: [" + b"a," * 32_000 + b"]",
    "numbers.mil": lambda: (
        b"program(1.0)\n[a = tensor<fp32, [4000000]>([" + b"1," * 4_000_000 + b"])]"
    ),
    "open string.mil": lambda: b'program(1.0)\n[a = string("' + b"x" * 8_000_000,
    "escapes.mil": lambda: b'program(1.0)\n[a = string("' + b"\\n" * 4_000_000 + b'")]',
    "long name.mil": lambda: b"program(1.0)\n{func " + b"x" * 8_000_000,
    "operations.mlmodel": lambda: model(many_operations),
    "more operations.mlmodel": lambda: model(many_operations) + model(many_operations),
    "values.mlmodel": lambda: model(many_values),
    "long name.mlmodel": lambda: model(lambda b: b.operations.add(type="x" * 15 * MEBIBYTE)),
    "long name.safetensors": lambda: header(
        b'{"%s":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' % (b"x" * 15 * MEBIBYTE)
    ),
    "longer name.safetensors": lambda: header(b'{"%s":1}' % (b"x" * 100 * MEBIBYTE)),
    "names.safetensors": lambda: header(
        b"{"
        + b",".join(
            b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % number
            for number in range(250_000)
        )
        + b"}"
    ),
    "zeros.npz": lambda: archive(x__npy=zeros_npy(1 << 34) + bytes(1 << 20)),
    "zeros.npy": lambda: zeros_npy(1 << 50),
    "objects.th": many_objects,
    "channels.wav": lambda: wav(44_100, 1024, 70_000, bytes(2 * 1024 * 70_000)),
    "one hertz.wav": lambda: wav(1, 2, 20_000, bytes(80_000)),
    "a gigahertz.wav": lambda: wav(10**9, 2, 20_000, bytes(80_000)),
}
MOST_BYTES = 1 << 30
"""How much the worst file of the largest size that is read may take; of audio and arrays, what is
in them comes on top."""


@pytest.mark.exhaustive
def test_files_of_the_largest_size_stay_within_memory(bench, monkeypatch):
    monkeypatch.setattr(trials, "MEMORY_BYTES", MOST_BYTES)
    monkeypatch.setattr(trials, "PATIENCE_S", 600)  # four million numbers take 15 s
    first = {name.rpartition(".")[2]: name for name in reversed(bench.files)}
    for kind, make in BOMBS.items():
        name = first.get(kind.rpartition(".")[2])
        if name is not None:
            data = make()
            bench.before = trials.reset_peak()
            bench.content(name, data, kind)


@pytest.mark.parametrize("name", ["../aaaaaaaa", "*", "/etc/passwd", "**", "", "a b", "a" * 65])
def test_a_bag_names_no_paths_and_no_patterns(tmp_path, name):
    (tmp_path / "tiny.yaml").write_text(json.dumps({"models": ["aaaaaaaa", name]}))
    with pytest.raises(CheckpointError, match="expected the beginnings of files' names"):
        locate_given(TINY, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 65 + "]" * 65, "nested more than 64 times"),
        ('{"a": 1, "b": 2, "a": 3}', "'a' is there twice"),
        ("1e999", "too large for 64 bits"),
        ("NaN", "is no JSON"),
        ("1" * 25, "has 25 digits"),
        ("[" + "1," * 2_000_001 + "1]", "more than 2,000,000 values"),
    ],
)
def test_json_that_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a." * 32 + "a = 1", "more than 32 parts"),
        ("x = 0x1" + "0" * 17, "whole number of 69 bits"),
        ("x = " + "[" * 65 + "]" * 65, "nested more than 64 times"),
    ],
)
def test_toml_that_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_toml(text)


def test_what_is_just_sound_is_read():
    assert parse_json("[" * 64 + "]" * 64)
    assert parse_json("[1e308, 18446744073709551615, -5e-324]") == [1e308, 2**64 - 1, -5e-324]
    assert parse_toml("a." * 31 + "a = 1\nx = [" + "'b.c.d.e.f.g.h', " * 40 + "]")
    assert parse_toml("x = " + "[" * 63 + "]" * 63)
