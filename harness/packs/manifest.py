"""What a pack says of itself: the manifest, as JSON and as flat TSV.

The JSON is the truth and has a schema (``pack.schema.json``, copied into each pack). The TSV says
the same, one fact a line, for readers without a JSON parser; since it has the place of each tensor
in its file, who reads it need not parse the header of a safetensors file either. Its lines begin
with their kind, fields are separated by tabs:

=============  ====================================================================================
``pack``       format, version, name, byte order
``file``       ``given`` or ``expected``, file name, bytes, SHA-256
``rule``       what it says (``elementwise``, ``snr``, ``verdict``), in words
``required``   number of cases that must be run
``operation``  name, what it computes
``case``       case, operation, layer, seed, SHA-256 of its tensors
``attribute``  case, key, value (lists with commas, ``true`` and ``false``)
``algorithm``  case, algorithm, greatest error that it is predicted to make in FP32
``tensor``     case, tensor, dtype, shape (``2,3``; ``-`` for a scalar), layout, file, offset, bytes
``tolerance``  case, tensor, rtol, atol, least SNR in dB (``-`` for none)
=============  ====================================================================================

Readers skip lines of a kind that they don't know. A number is spelled as in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.bounded import MEBIBYTE, read_json
from harness.errors import ParityError, RunError
from harness.verdicts import LAYERS, Gate
from harness.verdicts.jsondata import document_text, plain, restored
from harness.verdicts.kinds import another_kind

FORMAT: Final = "parity-pack"
VERSION: Final = 1
JSON_NAME: Final = "manifest.json"
TSV_NAME: Final = "manifest.tsv"
SCHEMA_NAME: Final = "pack.schema.json"
FILES: Final = {"given": "given.safetensors", "expected": "expected.safetensors"}
"""What a reader is given, and what it is held to."""
DTYPES: Final = {"float32": 4, "int32": 4}
"""The types of tensors, with the bytes of one element."""
RULES: Final = {
    "elementwise": "abs(actual - expected) <= atol + rtol * abs(expected), for every element",
    "snr": "10 log10(sum(expected^2) / sum((actual - expected)^2)) > min_snr_db, of the tensor",
    "verdict": "shape and dtype are equal, no element is NaN or infinite, and both rules hold",
}

LIMIT_BYTES: Final = 64 * MEBIBYTE
"""Of a manifest in either form; that of the pack ``ops`` has 0.6 MB."""
_PREFIXES: Final = {"given": ("in/", "param/", "cotangent/"), "expected": ("out/", "grad/")}


class PackError(ParityError):
    """A golden pack, or results for one, that can't be read."""


@dataclass(frozen=True)
class Tolerance:
    """What one expected tensor is held to; how the parts combine is said in `RULES`.

    Attributes:
        rtol, atol: for each element.
        min_snr_db: of the whole tensor; None where it has no energy to form a ratio of.
    """

    rtol: float
    atol: float
    min_snr_db: float | None = None

    def gate(self, name: str) -> Gate:
        """Return the gate that these bounds are.

        Raises:
            ParityError: one of them is negative or not finite.
        """
        reason = "The pack's own tolerance for this tensor."
        return Gate(name, reason, rtol=self.rtol, atol=self.atol, min_snr_db=self.min_snr_db)


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a case.

    Attributes:
        name: ``in/x``, ``param/weight``, ``cotangent/y``, ``out/y``, ``grad/in/x``, ...
        dtype: of `DTYPES`, little-endian.
        shape: empty for a scalar.
        layout: what its axes are, in the order of memory, the last one contiguous.
        file: ``given`` or ``expected``.
        offset: where it begins in its file.
        bytes: how long it is.
        tolerance: what an expected tensor is held to.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str
    file: str
    offset: int
    bytes: int
    tolerance: Tolerance | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise PackError(f"{self.name} has dtype {self.dtype!r}; expected {' or '.join(DTYPES)}")
        if self.file not in _PREFIXES or not self.name.startswith(_PREFIXES[self.file]):
            raise PackError(f"tensor {self.name!r} can't be in the file {self.file!r}")
        if (self.file == "expected") != (self.tolerance is not None):
            raise PackError(f"tensor {self.name!r}: expected tensors, and they alone, have bounds")
        if self.tolerance is not None:
            self.tolerance.gate(self.name)


@dataclass(frozen=True)
class CaseEntry:
    """One question of a pack with its answer.

    Attributes:
        name: unique in the pack.
        operation: what is computed.
        layer: the rung of the ladder that its checks belong to.
        seed: what its values were drawn from.
        sha256: of the bytes of its tensors, in their order here.
        attributes: numbers, words, truth values and lists of numbers.
        tensors: given ones first.
        algorithms: the greatest error of ``out/y`` that an algorithm is predicted to make in FP32.
    """

    name: str
    operation: str
    layer: str
    seed: int
    sha256: str
    attributes: Mapping[str, Any]
    tensors: tuple[TensorEntry, ...]
    algorithms: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise PackError(f"layer {self.layer!r} is not one of {', '.join(LAYERS)}")

    @property
    def expected(self) -> tuple[TensorEntry, ...]:
        """The tensors that a result must have."""
        return tuple(tensor for tensor in self.tensors if tensor.file == "expected")


@dataclass(frozen=True)
class FileEntry:
    """One of the two files of tensors."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything about a pack but its numbers.

    Attributes:
        name: of the pack.
        required: how many cases must be run for a pass.
        files: ``given`` and ``expected``.
        operations: what each computes.
        cases: in the order of the files.
        provenance: the versions that it was made with.
        format, version, byte_order, rules: fixed in this version.
    """

    name: str
    required: int
    files: Mapping[str, FileEntry]
    operations: Mapping[str, str]
    cases: tuple[CaseEntry, ...]
    provenance: Mapping[str, Any]
    format: str = FORMAT
    version: int = VERSION
    byte_order: str = "little"
    rules: Mapping[str, str] = field(default_factory=lambda: dict(RULES))

    def __post_init__(self) -> None:
        if {key: entry.name for key, entry in self.files.items()} != FILES:
            raise PackError(f"its files are not {' and '.join(FILES.values())}")
        names = {case.name for case in self.cases}
        if not self.required == len(self.cases) == len(names) > 0:
            raise PackError(
                f"it requires {self.required} cases and lists {len(self.cases)} under {len(names)} "
                "names; the manifest is not whole, build it again"
            )

    def to_json(self) -> str:
        """Return the manifest as a JSON document."""
        return document_text(plain(self), indent=1)

    def to_tsv(self) -> str:
        """Return the manifest as lines of fields separated by tabs."""
        return "".join("\t".join(map(_spelled, line)) + "\n" for line in self._lines())

    def _lines(self) -> Iterator[tuple[Any, ...]]:
        yield "pack", self.format, self.version, self.name, self.byte_order
        for key, file in self.files.items():
            yield "file", key, file.name, file.bytes, file.sha256
        for rule in self.rules.items():
            yield "rule", *rule
        yield "required", self.required
        for operation in self.operations.items():
            yield "operation", *operation
        for case in self.cases:
            yield from _case_lines(case)


def _case_lines(case: CaseEntry) -> Iterator[tuple[Any, ...]]:
    yield "case", case.name, case.operation, case.layer, case.seed, case.sha256
    for attribute in case.attributes.items():
        yield "attribute", case.name, *attribute
    for algorithm in case.algorithms.items():
        yield "algorithm", case.name, *algorithm
    for t in case.tensors:
        shape = t.shape or None
        yield "tensor", case.name, t.name, t.dtype, shape, t.layout, t.file, t.offset, t.bytes
        if t.tolerance is not None:
            bounds = t.tolerance
            yield "tolerance", case.name, t.name, bounds.rtol, bounds.atol, bounds.min_snr_db


def _spelled(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return ",".join(map(_spelled, value))
    text = value if isinstance(value, str) else json.dumps(value)
    return " ".join(text.split())


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the pack in ``folder``.

    Raises:
        PackError: it is missing, no manifest, of an unknown version or of another byte order.
    """
    path = folder / JSON_NAME
    data = read_json(path, LIMIT_BYTES, PackError)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        other = another_kind(data, "pack")
        reason = f"this is {other}" if other else f"its format is not {FORMAT!r}"
        raise PackError(f"{path} is no manifest of a pack: {reason}")
    for key, known in (("version", VERSION), ("byte_order", "little")):
        if data.get(key) != known or isinstance(data[key], bool):
            found = str(data.get(key))[:40]
            raise PackError(
                f"{path} has {key} {found!r}, this program reads {known!r}; build the pack again "
                "with 'parity pack build'"
            )
    try:
        manifest: Manifest = restored(Manifest, data, "manifest")
    except (RunError, PackError) as error:
        raise PackError(f"{path}: {error}") from error
    return manifest
