"""Run a package on each compute unit of this Mac and record what comes out.

    pip install coremltools
    python recorder.py                  # in the folder that `parity kit` or `parity capture` wrote

For each compute unit one file, ``capture-UNIT.safetensors``: the outputs by name, and as metadata
the digest of the inputs, the unit, the device, the system and versions. This file needs Python,
NumPy and coremltools, and nothing of the harness.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = "parity-capture-1"
PACKAGE, INPUTS = "probes.mlpackage", "inputs.safetensors"
UNITS = ("CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL")
TYPES = {"F16": np.float16, "F32": np.float32, "I32": np.int32}


def inputs_digest(inputs: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of arrays, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name])
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file that `parity` wrote."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = np.frombuffer(data[begin:end], TYPES[entry["dtype"]])
        found[name] = array.reshape(entry["shape"])
    return found


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays as a safetensors file."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts, offset = [], 0
    names = {np.dtype(kind): name for name, kind in TYPES.items()}
    for name, array in sorted(arrays.items()):
        array = np.asarray(array)
        part = np.ascontiguousarray(array).tobytes()
        spans = [offset, offset + len(part)]
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": spans,
        }
        parts.append(part)
        offset += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    os.replace(temporary, path)  # noqa: PTH105 - whole or not at all


def device() -> str:
    """Return the model of this Mac, or the processor's architecture elsewhere."""
    if platform.system() != "Darwin":
        return platform.machine()
    return subprocess.check_output(["sysctl", "-n", "hw.model"], text=True).strip()


def record(folder: Path) -> list[Path]:
    """Run the package in ``folder`` on every compute unit; return the captures."""
    import coremltools as ct

    inputs = read(folder / INPUTS)
    packages = sorted(folder.glob("*.mlpackage"))
    if len(packages) != 1:
        raise SystemExit(f"{folder} has {len(packages)} packages; expected one")
    written = []
    for unit in UNITS:
        model = ct.models.MLModel(str(packages[0]), compute_units=ct.ComputeUnit[unit])
        made = model.predict(dict(inputs))  # it replaces entries by others of its own types
        outputs = {name: np.asarray(value) for name, value in made.items()}
        metadata = {
            "format": FORMAT,
            "inputs": inputs_digest(inputs),
            "compute_unit": unit,
            "device": device(),
            "system": f"{platform.system()} {platform.mac_ver()[0] or platform.release()}",
            "versions": f"coremltools {ct.__version__}, Python {platform.python_version()}",
        }
        path = folder / f"capture-{unit}.safetensors"
        write(path, outputs, metadata)
        print(path)
        written.append(path)
    return written


if __name__ == "__main__":
    record(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
