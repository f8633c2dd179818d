"""Rewrites of what is written down, and of the files that it is written in."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness._coremltools import import_coremltools
from harness.mil.blob import HEADER, METADATA
from harness.mil.ops.registry import definition
from harness.mil.program import Binding, Constant, Operation
from suites.selftest.structure.rewriting import (
    REWRITES,
    Draft,
    rewrite,
)


@rewrite("defaults left out")
def defaults_left_out(draft: Draft) -> None:
    known = {name: o.attributes["val"] for name, o in draft.constants.items()}

    def is_default(operation: Operation, parameter: str, binding: Binding) -> bool:
        described = definition(operation.type).parameters[parameter]
        held = binding if isinstance(binding, Constant) else known.get(binding)
        if described.required or described.default is None or held is None:
            return False
        if isinstance(held.value, str):
            return bool(held.value == described.default)
        array = draft.package.constants.array(held)
        same = array.size == 1 and np.float32(array.item()) == np.float32(described.default)
        return bool(same)

    draft.operations = [
        o
        if o.type == "const"
        else replace(o, inputs={p: b for p, b in o.inputs.items() if not is_default(o, p, b[0])})
        for o in draft.operations
    ]


@rewrite("inputs and outputs in another order")
def another_interface(draft: Draft) -> None:
    block = replace(draft.function.block, outputs=draft.function.block.outputs[::-1])
    draft.function = replace(draft.function, block=block, inputs=draft.function.inputs[::-1])


@rewrite("other metadata")
def other_metadata(draft: Draft) -> None:
    draft.metadata |= {"author": "somebody", "license": "MIT", "version": "7", "colour": "green"}
    draft.sidecar = replace(
        draft.sidecar, facts={**draft.sidecar.facts, "command": "by hand", "git_commit": "0" * 40}
    )


def _other_weight_file(source: Path, target: Path) -> None:
    """Constants lie in reverse order, with gaps, and with one that no program names."""
    import_coremltools()
    from coremltools.proto import Model_pb2

    shutil.copytree(source, target)
    folder = target / "Data" / "com.apple.CoreML"
    specification = Model_pb2.Model()
    specification.ParseFromString((folder / "model.mlmodel").read_bytes())
    old = (folder / "weights" / "weight.bin").read_bytes()
    references = _blob_references(specification)
    offsets = sorted({reference.offset for reference in references}, reverse=True)
    moved, written = {}, bytearray(old[: HEADER.size])
    for number, offset in enumerate(offsets):
        written += b"\xa5" * 64 * (number % 3)
        moved[offset] = len(written)
        sentinel, code, size, start, padding = METADATA.unpack_from(old, offset)
        written += METADATA.pack(sentinel, code, size, len(written) + METADATA.size, padding)
        written += old[start : start + size] + bytes(-size % 64)
    for reference in references:
        reference.offset = moved[reference.offset]
    (folder / "weights" / "weight.bin").write_bytes(bytes(written))
    (folder / "model.mlmodel").write_bytes(specification.SerializeToString())


def _blob_references(specification: Any) -> list[Any]:
    return [
        value.blobFileValue
        for function in specification.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        for value in operation.attributes.values()
        if value.WhichOneof("value") == "blobFileValue"
    ]


def _written_by_coremltools(source: Path, target: Path) -> None:
    """Read by coremltools as a program of its own and written again, with the same metadata."""
    import_coremltools()
    from coremltools.converters.mil.backend.mil.load import load as write
    from coremltools.converters.mil.frontend.milproto.load import load as read
    from coremltools.proto import Model_pb2

    folder = Path("Data") / "com.apple.CoreML"
    specification = Model_pb2.Model()
    specification.ParseFromString((source / folder / "model.mlmodel").read_bytes())
    version = specification.specificationVersion
    program = read(specification, version, str(source / folder / "weights"))
    shutil.copytree(source, target)
    shutil.rmtree(target / folder / "weights")
    (target / folder / "weights").mkdir()
    again = write(program, str(target / folder / "weights"), specification_version=version)
    again.description.metadata.CopyFrom(specification.description.metadata)
    (target / folder / "model.mlmodel").write_bytes(again.SerializeToString())


def _other_manifest(source: Path, target: Path) -> None:
    """The files of the package have other names."""
    shutil.copytree(source, target)
    folder = target / "Data" / "com.apple.CoreML"
    (folder / "model.mlmodel").rename(folder / "network.mlmodel")
    item = {"author": "somebody", "description": "", "name": "network.mlmodel"}
    entries = {
        "A": {**item, "path": "com.apple.CoreML/network.mlmodel"},
        "B": {**item, "path": "com.apple.CoreML/weights"},
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": "A",
    }
    (target / "Manifest.json").write_text(json.dumps(manifest), "utf-8")


REWRITES["another weight file"] = _other_weight_file
REWRITES["written again by coremltools"] = _written_by_coremltools
REWRITES["another manifest"] = _other_manifest
