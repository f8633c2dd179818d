"""An oracle that asks a command of the user's own."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ParityError
from harness.mil.saving import save_package
from harness.reduction.attempt import INPUTS, PACKAGE, Attempt, save_tensors
from harness.reduction.oracles import Oracle


@dataclass(frozen=True)
class Command(Oracle):
    """A command of the user's own does not end with exit code 0.

    It is split as a shell would split it and run without a shell, once for each try, on files of
    the names that stand instead of ``{package}`` and ``{inputs}``.

    Attributes:
        command: what to run.
        timeout_s: a command that takes longer counts as one that does not fail.
        numerics: how values at the cuts are computed.

    Raises:
        ParityError: the command can't be split, or lacks ``{package}``.
    """

    command: str
    timeout_s: float = 600.0
    numerics: str = "storage"

    def __post_init__(self) -> None:
        if not any("{package}" in word for word in self._words):
            raise ParityError(
                f"the command {self.command!r} does not say where the package goes: "
                "write {package}, and {inputs} where it reads the inputs"
            )

    @property
    def _words(self) -> list[str]:
        try:
            return shlex.split(self.command)
        except ValueError as error:
            raise ParityError(f"the command {self.command!r} can't be split: {error}") from error

    @property
    def words(self) -> str:
        """What failing is, as the end of a sentence."""
        return f"the command {self.command!r} does not end with exit code 0"

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the command."""
        return ("--command", self.command, "--numerics", self.numerics)

    def judge(self, attempt: Attempt) -> str | None:
        """Return the exit code and the last line on stderr."""
        with tempfile.TemporaryDirectory() as scratch:
            package, inputs = attempt.path or Path(scratch, PACKAGE), Path(scratch, INPUTS)
            if attempt.path is None:
                function = attempt.model.plan.function
                save_package(package, function, attempt.model.package.constants.array)
            save_tensors(inputs, attempt.inputs)
            return self._run(package, inputs)

    def _run(self, package: Path, inputs: Path) -> str | None:
        places = {"{package}": str(package), "{inputs}": str(inputs)}
        words = [_filled(word, places) for word in self._words]
        try:
            done = subprocess.run(  # the command is the user's own
                words, capture_output=True, timeout=self.timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return None
        except OSError as error:
            raise ParityError(f"{words[0]!r} can't be run: {error.strerror}") from error
        if done.returncode == 0:
            return None
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = f": {lines[-1]}" if lines else ""
        return f"exit code {done.returncode}{said}"


def _filled(word: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        word = word.replace(place, value)
    return word
