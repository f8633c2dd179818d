"""Where a result comes from: versions, machine, commit and command; plain JSON data."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import harness

PACKAGES: Final = (
    "torch",
    "demucs",
    "coremltools",
    "numpy",
    "scipy",
    "safetensors",
    "soundfile",
    "soxr",
    "onnx",
    "onnxruntime",
)
"""The distributions whose versions can change a number."""


def versions() -> dict[str, str]:
    """Return the versions of Python, of this harness, and of every package in `PACKAGES`."""
    found = {"python": platform.python_version(), "harness": harness.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@lru_cache
def source_hash(*rooms: str) -> str:
    """Return the SHA-256, as hex, of the code that makes a result.

    A version of this harness covers many states of a clone, so whoever keeps results names these.

    Args:
        rooms: the packages of the harness that decide the result; all by default.
    """
    home, digest = Path(harness.__file__).parent, hashlib.sha256()
    for room in rooms or (".",):
        for file in sorted((home / room).rglob("*.py")):
            digest.update(f"{file.relative_to(home).as_posix()} {file.stat().st_size}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def machine() -> dict[str, Any]:
    """Return what the numbers may depend on: system, processor, cores, SIMD level of PyTorch."""
    import torch

    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "torch_threads": torch.get_num_threads(),
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }


def git_commit() -> str:
    """Return the commit that this code was checked out from, "" if it is in no git work tree.

    ``-dirty`` is appended when tracked files differ from the commit.
    """
    folder = Path(harness.__file__).parent
    # An installed copy may lie in a folder of somebody else's repository, which doesn't track it.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return ""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return ""
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changes else commit


def provenance(command: Sequence[str] | None = None, **more: Any) -> dict[str, Any]:
    """Return everything of this module in one object, with ``more`` beside it.

    Args:
        command: what was run; by default this process's own arguments.
        more: whatever else belongs there.
    """
    words = list(sys.argv if command is None else command)
    if words:
        words[0] = Path(words[0]).name
    return {
        "command": shlex.join(words),
        "commit": git_commit(),
        "versions": versions(),
        "machine": machine(),
        **more,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
