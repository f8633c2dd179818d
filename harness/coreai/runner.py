"""What the process does that executes an asset: a script, started by `harness.coreai.asset`.

Its only argument is a folder with ``job.json`` and ``inputs.safetensors``; it leaves
``outputs.safetensors`` there, or ``error.txt`` with one line that says what is wrong with the
inputs or the asset. It imports nothing of this project, so that it starts fast and holds nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def _limit(job: dict[str, Any]) -> None:
    """Bound this process's memory and files, and let it end with its parent."""
    resource.setrlimit(resource.RLIMIT_AS, (job["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (job["output_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _refuse(descriptor: Any, inputs: dict[str, Any]) -> None:
    """Refuse inputs that the asset doesn't take: the runtime reads whatever memory it is given."""
    expected = set(descriptor.input_names)
    if inputs.keys() != expected:
        takes, got = (", ".join(sorted(names)) or "none" for names in (expected, inputs))
        raise ValueError(f"the asset takes the inputs {takes}, got {got}")
    for name, array in inputs.items():
        wanted = descriptor.input_descriptor(name)
        # The converter leaves the size of an axis open where it takes it from another input.
        sizes = [size if size is not None and size >= 0 else None for size in wanted.shape]
        fits = len(sizes) == array.ndim and all(
            size in (None, there) for size, there in zip(sizes, array.shape, strict=True)
        )
        if not fits or str(array.dtype) != wanted.dtype:
            takes, got = f"{wanted.dtype} {sizes}", f"{array.dtype} {list(array.shape)}"
            raise ValueError(f"input {name!r} is {got}, expected {takes}")


async def _run(job: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    from coreai.authoring import AIModelAsset
    from coreai.runtime import NDArray

    async with AIModelAsset.load(Path(job["asset"])).executable() as model:
        function = model.load_function("main")
        if job["only_known"]:
            inputs = {k: v for k, v in inputs.items() if k in set(function.desc.input_names)}
        _refuse(function.desc, inputs)
        made = await function({name: NDArray(array) for name, array in inputs.items()})
        return {name: np.array(array.numpy(), order="C") for name, array in made.items()}


def main(folder: Path) -> int:
    """Do the job in ``folder`` and return the exit code."""
    job = json.loads((folder / "job.json").read_text())
    _limit(job)
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    foreign = (RuntimeError, ValueError, TypeError, KeyError, OSError, MemoryError, SafetensorError)
    try:
        made = asyncio.run(_run(job, load_file(folder / "inputs.safetensors")))
        save_file(made, folder / "outputs.safetensors")
    except foreign as error:
        (folder / "error.txt").write_text(f"{type(error).__name__}: {error}"[:4096])
        return 1
    return 0


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    os._exit(code)  # one exit in a hundred of the runtime's own ends in an exception of C++
