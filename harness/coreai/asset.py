"""An ``.aimodel`` asset, executed by Core AI's runtime in a process of its own.

The runtime is native code that reads a stranger's file: it may crash, hang, or take all memory. So
each prediction is a process with bounds on its time, its address space and what it writes; it ends
with this one. What happens to it is an error with a name.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from safetensors.numpy import save_file

from harness.arrayfiles import read_arrays
from harness.bounded import MEBIBYTE, open_regular, read_json, read_text
from harness.coreai.installed import require_coreai
from harness.errors import ExecutionError, PackageError, ParityError

SUFFIX: Final = ".aimodel"
RUNNER: Final = Path(__file__).with_name("runner.py")
"""What a process that executes an asset does; a script, never imported."""
_TAP: Final = "tap."
_TEXT_BYTES: Final = 64 << 10
_METADATA_BYTES: Final = MEBIBYTE
_PROGRAM_BYTES: Final = 64 << 30  # the runtime reads it, in its own bounds


class RuntimeCrashError(ExecutionError):
    """The runtime's process was ended by a signal: a crash, or memory that it did not get."""


class RuntimeTimeoutError(ExecutionError):
    """The runtime took longer than it was given."""


def tap_output(tap: str) -> str:
    """Return the name of the output that shows a tap, which is its name in goldens."""
    return f"{_TAP}{tap}"


def _most_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 * 3


@dataclass(frozen=True)
class RuntimeLimits:
    """Bounds of one execution.

    Attributes:
        seconds: of wall-clock time.
        memory_bytes: of address space; three quarters of this machine's memory.
        output_bytes: of the file of outputs, and of what the runtime logs.
    """

    seconds: float = 600.0
    memory_bytes: int = field(default_factory=_most_of_memory)
    output_bytes: int = 4 << 30


def check_asset(path: Path) -> None:
    """Refuse what is no asset; of one, nothing but its metadata is read.

    Raises:
        PackageError: no folder of that name, without a program, or with broken metadata.
    """
    program = path / "main.mlirb"
    if path.suffix != SUFFIX or not program.exists():
        raise PackageError(
            f"{path} is no Core AI asset: expected a folder NAME{SUFFIX} with main.mlirb, as "
            "'parity convert SUBJECT --target coreai' writes it"
        )
    open_regular(program, _PROGRAM_BYTES, PackageError).close()
    read_json(path / "metadata.json", _METADATA_BYTES, PackageError)


@dataclass(frozen=True)
class Asset:
    """An asset on disk; opening it reads its metadata alone.

    Args:
        path: the ``.aimodel`` folder.
        limits: of each execution.

    Raises:
        EngineUnavailableError: Core AI is not installed.
        PackageError: ``path`` is no asset.
    """

    path: Path
    limits: RuntimeLimits = field(default_factory=RuntimeLimits)

    def __post_init__(self) -> None:
        require_coreai()
        check_asset(self.path)

    def predict(
        self, inputs: Mapping[str, np.ndarray], *, taps: Sequence[str] = ()
    ) -> dict[str, np.ndarray]:
        """Execute once; returns the outputs but taps, and those of ``taps`` by their output names.

        Raises:
            RuntimeCrashError: a signal ended the runtime.
            RuntimeTimeoutError: it took longer than its limit.
            ExecutionError: it refused the asset, or inputs that the asset doesn't take.
        """
        made = self.execute(inputs)
        for name in taps:
            if name not in made:
                known = ", ".join(made)
                raise ExecutionError(f"{self.path} has no output {name!r}; it has {known}")
        return {k: v for k, v in made.items() if not k.startswith(_TAP) or k in taps}

    def execute(
        self, inputs: Mapping[str, np.ndarray], *, only_known: bool = False
    ) -> dict[str, np.ndarray]:
        """Execute once; returns all outputs, taps included. Raises as `predict`.

        Args:
            inputs: by name.
            only_known: leave out those that the asset doesn't take.
        """
        with tempfile.TemporaryDirectory(prefix="parity-coreai-") as name:
            folder = Path(name)
            given = {key: np.ascontiguousarray(array) for key, array in inputs.items()}
            save_file(given, folder / "inputs.safetensors")
            job = {
                "asset": str(self.path.absolute()),
                "memory_bytes": self.limits.memory_bytes,
                "output_bytes": self.limits.output_bytes,
                "only_known": only_known,
            }
            (folder / "job.json").write_text(json.dumps(job))
            code = self._wait(folder)
            if code < 0:
                raise RuntimeCrashError(self._crash(-code, folder))
            if code:
                raise ExecutionError(f"Core AI can't execute {self.path}: {_said(folder)}")
            return read_arrays(folder / "outputs.safetensors", ExecutionError)

    def _wait(self, folder: Path) -> int:
        """Run the job in ``folder`` and return the exit code, negative for a signal."""
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", str(RUNNER), str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": str(folder)},  # what a killed one leaves goes, too
                start_new_session=True,
            )
            try:
                return process.wait(self.limits.seconds)
            except subprocess.TimeoutExpired as error:
                raise RuntimeTimeoutError(
                    f"Core AI did not execute {self.path} within {self.limits.seconds:g} s; it was "
                    "ended (FP16 takes some 30 times as long as FP32); allow more with --time-limit"
                ) from error
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _crash(self, number: int, folder: Path) -> str:
        try:
            named = signal.Signals(number).name
        except ValueError:
            named = f"signal {number}"
        lines = _tail(folder / "log.txt")
        said = f"; the last that it said: {lines[-1]}" if lines else ""
        return f"Core AI's runtime was ended by {named} while it executed {self.path}{said}"


def _said(folder: Path) -> str:
    """Return what a process that failed had to say."""
    with contextlib.suppress(ParityError):
        return read_text(folder / "error.txt", _TEXT_BYTES, ParityError)
    lines = _tail(folder / "log.txt")
    return lines[-1] if lines else "it ended without a word"


def _tail(path: Path) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TEXT_BYTES))
        return file.read().decode("utf-8", "replace").strip().splitlines()
