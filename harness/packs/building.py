"""A book of operations, or values that somebody has already, as the folder of a pack.

The folder appears whole or not at all. Tensors are contiguous and little-endian; what a reader is
given and what it is held to are two files, so that a reader can be run without the answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import save

from harness.atomic import atomic_folder
from harness.atomic.products import PACK
from harness.digests import sha256
from harness.origin import versions
from harness.packs import dsp, ops  # noqa: F401 - they fill the books
from harness.packs.evaluation import answers
from harness.packs.manifest import (
    DTYPES,
    FILES,
    FORMAT,
    JSON_NAME,
    SCHEMA_NAME,
    TSV_NAME,
    CaseEntry,
    FileEntry,
    Manifest,
    PackError,
    TensorEntry,
    Tolerance,
)
from harness.packs.problems import DSP, OPS, Array, Book, Operation, Problem, seed_of
from harness.packs.reading import TensorPlace, tensor_places

BOOKS: Final[Mapping[str, Book]] = {book.name: book for book in (OPS, DSP)}
"""The packs that need nothing but this program."""

_SHOWN_VERSIONS: Final = ("harness", "python", "torch", "numpy")


@dataclass(frozen=True)
class Answered:
    """A case with its numbers, before it has a place in files.

    Attributes:
        given: ``in/...``, ``param/...`` and ``cotangent/...``, float32 or int32.
        expected: ``out/...`` and ``grad/...``.
        tolerances: of each expected tensor.
        layouts: by the name of the tensor; one that has none is "any".
    """

    name: str
    operation: str
    layer: str
    seed: int
    attributes: Mapping[str, Any]
    given: Mapping[str, Array]
    expected: Mapping[str, Array]
    tolerances: Mapping[str, Tolerance]
    layouts: Mapping[str, str] = field(default_factory=dict)
    algorithms: Mapping[str, float] = field(default_factory=dict)


def answered(book: Book) -> Iterator[Answered]:
    """Yield every case of a book, computed in float64 and cast once."""
    for operation in book.operations.values():
        for problem, level in operation.cases():
            yield _answer(book, operation, problem, level)


def _answer(book: Book, operation: Operation, problem: Problem, level: int) -> Answered:
    name = f"{operation.name}.{problem.name}"
    cotangents, expected = answers(
        problem, seed_of(f"{book.name}/{name}"), differentiable=book.differentiable
    )
    given = {f"in/{key}": array for key, array in problem.inputs.items()}
    given |= {f"param/{key}": array for key, array in problem.parameters.items()}
    forward = problem.bounds or operation.bounds
    backward = problem.gradient_bounds or operation.gradient_bounds
    levels = {"level_dbfs": level} if problem.levels else {}
    return Answered(
        name,
        operation.name,
        book.layer,
        operation.seed,
        {**operation.conventions, **problem.attributes, **levels},
        given | cotangents,
        expected,
        {
            key: (forward if key.startswith("out/") else backward).tolerance(array)
            for key, array in expected.items()
        },
        operation.layouts,
        problem.algorithms,
    )


def write_pack(
    folder: Path,
    name: str,
    cases: Iterable[Answered],
    operations: Mapping[str, str],
    advance: Callable[[int], None] = lambda done: None,
) -> Manifest:
    """Write a pack to ``folder``, in place of an earlier one, and return its manifest.

    Args:
        folder: the target.
        name: of the pack.
        cases: in their order.
        operations: what each computes.
        advance: told the number of cases that are made.

    Raises:
        PackError: there is no case, two have one name, or a tensor is no float32 or int32.
        OSError: the disk is full or can't be written; ``folder`` is as it was.
    """
    made: list[Answered] = []
    for case in cases:
        made.append(case)
        advance(len(made))
    with atomic_folder(folder, PACK) as fresh:
        places: dict[str, Mapping[str, TensorPlace]] = {}
        for key, file in FILES.items():
            tensors = _tensors(made, key)
            (fresh / file).write_bytes(save(tensors, {"format": FORMAT, "pack": name}))
            places[key] = tensor_places(fresh / file)
        manifest = Manifest(
            name,
            len(made),
            {
                key: FileEntry(file, (fresh / file).stat().st_size, sha256(fresh / file))
                for key, file in FILES.items()
            },
            dict(operations),
            tuple(_entry(case, places) for case in made),
            {package: versions()[package] for package in _SHOWN_VERSIONS},
        )
        (fresh / JSON_NAME).write_text(manifest.to_json(), "utf-8")
        (fresh / TSV_NAME).write_text(manifest.to_tsv(), "utf-8")
        schema = Path(__file__).with_name(SCHEMA_NAME).read_text("utf-8")
        (fresh / SCHEMA_NAME).write_text(schema, "utf-8")
    return manifest


def _tensors(cases: Iterable[Answered], key: str) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for case in cases:
        for name, array in _of(case, key).items():
            full = f"{case.name}/{name}"
            if full in found or array.dtype.name not in DTYPES:
                raise PackError(f"{full} is there twice or has dtype {array.dtype}")
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            found[full] = np.ascontiguousarray(little).reshape(array.shape)
    return found


def _of(case: Answered, key: str) -> Mapping[str, Array]:
    return case.given if key == "given" else case.expected


def _entry(case: Answered, places: Mapping[str, Mapping[str, TensorPlace]]) -> CaseEntry:
    digest = hashlib.sha256()
    tensors = []
    for key in FILES:
        for name, array in _of(case, key).items():
            digest.update(np.ascontiguousarray(array).tobytes())
            place = places[key][f"{case.name}/{name}"]
            layout = case.layouts.get(name.rpartition("/")[2], "any")
            bounds = case.tolerances.get(name)
            tensors.append(
                TensorEntry(name, layout=layout, file=key, tolerance=bounds, **vars(place))
            )
    return CaseEntry(
        case.name,
        case.operation,
        case.layer,
        case.seed,
        digest.hexdigest(),
        dict(case.attributes),
        tuple(tensors),
        dict(case.algorithms),
    )
