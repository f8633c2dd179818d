"""Where a run comes from: versions, machine, commit and command; plain JSON data."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = (
    "htdemucs-parity",
    "torch",
    "demucs",
    "coremltools",
    "numpy",
    "scipy",
    "safetensors",
    "soundfile",
    "soxr",
)
"""The distributions whose versions can change a number."""


def versions() -> dict[str, str]:
    """Return the version of Python and of every package that can change a number."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


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


def commit(folder: Path | None = None) -> str:
    """Return the git commit of ``folder`` (``-dirty`` if it has changes), or ``""`` outside git."""
    folder = folder or Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def provenance(command: Sequence[str] | None = None, **more: Any) -> dict[str, Any]:
    """Return everything of this module in one object, with ``more`` beside it."""
    words = list(sys.argv if command is None else command)
    if words:
        words[0] = Path(words[0]).name
    return {
        "command": shlex.join(words),
        "commit": commit(),
        "versions": versions(),
        "machine": machine(),
        **more,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
