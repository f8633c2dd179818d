"""An implementation as a command: run on a pack, with bounds on its time and on what it writes.

The command reads the pack at ``{pack}``, a copy without the answers, and writes its results below
``{out}``. It is split as a shell would split it, and run without a shell. Whatever it starts ends
with it: its process group, and on Linux also processes that left the group but have its
environment, which carries a mark.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from harness.bounded import MEBIBYTE
from harness.errors import ParityError
from harness.packs.manifest import FILES, JSON_NAME, SCHEMA_NAME, TSV_NAME
from harness.packs.reading import Pack

MARK: Final = "PARITY_PACK_RUN"
"""The variable of the environment by which what a command started is found again."""
TEXT_LIMIT_BYTES: Final = 16 * MEBIBYTE
"""Of stdout and stderr each."""

_KEPT_BYTES: Final = 64 << 10  # of each: the end, where an error is
_POLL_S: Final = 0.05
_CLOSING_S: Final = 5.0
_RESULTS_FACTOR: Final = 4  # a reader may write float64, and intermediate values
_RESULTS_FLOOR_BYTES: Final = 64 * MEBIBYTE


class ProcessError(ParityError):
    """A command that can't be started, hangs, or writes without end.

    Args:
        message: what happened.
        stderr: the last that it wrote there.
    """

    def __init__(self, message: str, stderr: str = "") -> None:
        super().__init__(message)
        self.stderr = stderr


@dataclass(frozen=True)
class Execution:
    """A command that ended by itself.

    Attributes:
        command: as it was given.
        exit_code: 0 or what it ended with; negative for a signal.
        stdout, stderr: their last 64 KiB.
        duration_s: until it ended.
    """

    command: str
    exit_code: int
    stdout: str
    stderr: str
    duration_s: float

    @property
    def complaint(self) -> str:
        """Why its results can't be trusted, whatever they are; empty if they can."""
        if self.exit_code == 0:
            return ""
        lines = self.stderr.strip().splitlines()
        said = f": {lines[-1]}" if lines else ", without a word on stderr"
        return f"the command ended with exit code {self.exit_code}{said}"


def question_copy(pack: Pack, folder: Path) -> None:
    """Copy a pack into ``folder``, which is there and empty, without its answers."""
    for name in (JSON_NAME, TSV_NAME, SCHEMA_NAME, FILES["given"]):
        if (pack.folder / name).exists():
            shutil.copyfile(pack.folder / name, folder / name)


def execute(command: str, pack: Pack, given: Path, out: Path, timeout_s: float) -> Execution:
    """Run a command on a pack.

    Args:
        command: with the places ``{pack}`` and ``{out}``.
        pack: what is asked; bounds how much is written.
        given: stands in the place of ``{pack}``.
        out: stands in the place of ``{out}``; a folder.
        timeout_s: after this time it is ended, with all that it started.

    Raises:
        ProcessError: it lacks a place, can't be started, takes longer, or writes too much.
    """
    if not timeout_s > 0:  # NaN would never be over
        raise ProcessError(f"the timeout is {timeout_s} s; expected more than 0")
    words = _words(command, {"{pack}": str(given), "{out}": str(out)})
    mark = secrets.token_hex(16)
    started = time.monotonic()
    process = _started(words, mark)
    texts = _Text(process.stdout), _Text(process.stderr)
    limit = max(_RESULTS_FLOOR_BYTES, _RESULTS_FACTOR * pack.manifest.files["expected"].bytes)
    try:
        trouble = _watch(process, texts, out, started + timeout_s, limit)
    finally:
        _end(process.pid, mark)
        process.wait()
    for text in texts:
        text.close()
    if trouble:
        raise ProcessError(
            f"the command {command[:120]!r} {trouble.format(timeout=f'{timeout_s:g}')}; it was "
            "ended, with all that it started",
            texts[1].kept,
        )
    took = time.monotonic() - started
    return Execution(command, process.returncode, texts[0].kept, texts[1].kept, took)


def _started(words: list[str], mark: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, MARK: mark},
            start_new_session=True,  # and so a group of its own
        )
    except OSError as error:
        raise ProcessError(f"{words[0]!r} can't be run: {error.strerror}") from error


def _words(command: str, places: dict[str, str]) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ProcessError(f"the command {command!r} can't be split: {error}") from error
    for place in places:
        if not any(place in word for word in words):
            raise ProcessError(
                f"the command {command!r} does not say where {place} goes: write {{pack}} for the "
                "folder of the pack and {out} for the folder of the results"
            )
    for place, value in places.items():
        words = [word.replace(place, value) for word in words]
    return words


def _watch(
    process: subprocess.Popen[bytes],
    texts: tuple[_Text, _Text],
    out: Path,
    deadline: float,
    limit_bytes: int,
) -> str:
    """Wait for the end, and return why it must be brought about, or nothing."""
    while process.poll() is None:
        if time.monotonic() > deadline:
            return "did not end within {timeout} s"
        if any(text.size > TEXT_LIMIT_BYTES for text in texts):
            return f"floods its output: more than {TEXT_LIMIT_BYTES:,} bytes"
        if _written(out) > limit_bytes:
            return f"floods the folder of results: more than {limit_bytes:,} bytes"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
    if _written(out) > limit_bytes:
        return f"floods the folder of results: more than {limit_bytes:,} bytes"
    return ""


def _written(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it may be gone again
                total += os.lstat(Path(parent, name)).st_size
    return total


def _end(group: int, mark: str) -> None:
    """End every process of a group, and those that have the mark."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    while left := _marked(mark):  # one that is being born has not been listed yet
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S / 5)


def _marked(mark: str) -> list[int]:
    """Return the processes whose environment has the mark; without /proc there are none."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


class _Text:
    """What a process writes to one of its streams: read until it ends, its last part kept."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None  # it is a pipe
        self.size, self._stream, self._tail = 0, stream, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def kept(self) -> str:
        return self._tail.decode("utf-8", "replace")

    def close(self) -> None:
        """Wait for the end of the stream, which comes when nobody holds it any more."""
        self._thread.join(_CLOSING_S)
        if not self._thread.is_alive():  # without /proc somebody may have escaped, and hold it
            self._stream.close()

    def _read(self) -> None:
        while block := os.read(self._stream.fileno(), 1 << 16):
            self.size += len(block)
            self._tail = (self._tail + block)[-_KEPT_BYTES:]
