"""What failing is: each oracle judges a program with its inputs, and says what it saw.

An oracle answers the same question of the whole program and of any part of it, and raises where it
can't: a program that nobody could judge does not pass. It also points at the operations that a look
at the whole run makes suspect; a wrong suspicion costs tries, never a wrong result.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from harness.errors import ContractError, ExecutionError, ParityError
from harness.mil.program import Operation
from harness.mil.saving import save_package
from harness.reduction.attempt import EXPECTED, INPUTS, PACKAGE, Attempt, RunValues, save_tensors
from harness.verdicts import Gate, Verdict, compare

_KINDS: Final = {
    "nan": ("NaN", torch.isnan),
    "inf": ("infinite", torch.isinf),
    "nonfinite": ("NaN or infinite", lambda tensor: ~torch.isfinite(tensor)),
}


_INTEGERS: Final = "iub"
_NUMBERS: Final = "f" + _INTEGERS
"""Kinds of NumPy's element types."""


class Oracle(ABC):
    """Says whether a program fails.

    Attributes:
        numerics: how programs are executed.
    """

    numerics: str

    @property
    @abstractmethod
    def words(self) -> str:
        """What failing is, as the end of a sentence."""

    @property
    @abstractmethod
    def options(self) -> tuple[str, ...]:
        """The options of ``parity reduce`` that make this oracle, beside a reduced package."""

    @abstractmethod
    def judge(self, attempt: Attempt) -> str | None:
        """Return what was seen if ``attempt`` fails, ``None`` if it does not.

        Raises:
            ExecutionError: it can't be executed, and that is not what failing is.
            ContractError: there is nothing in it to be judged.
        """

    def suspects(self, attempt: Attempt, recording: RunValues, scratch: Path) -> tuple[str, ...]:
        """Return names of values whose operations are suspect in the whole run.

        Args:
            attempt: the whole program, which fails.
            recording: its values.
            scratch: an empty folder.
        """
        return ()

    def expected(self, attempt: Attempt) -> Mapping[str, np.ndarray]:
        """Return what the outputs of ``attempt`` should have been, as far as that is known."""
        return {}


@dataclass(frozen=True)
class NotFinite(Oracle):
    """Some operation makes a NaN, an infinity, or either.

    Attributes:
        kind: ``nan``, ``inf`` or ``nonfinite``.
        numerics: how the program is executed.
    """

    kind: str
    numerics: str = "storage"

    @property
    def words(self) -> str:
        """What failing is, as the end of a sentence."""
        return f"some operation makes a value that is {_KINDS[self.kind][0]}"

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the command."""
        return ("--fails-when", self.kind, "--numerics", self.numerics)

    def judge(self, attempt: Attempt) -> str | None:
        """Return which value is not finite."""
        seen: list[str] = []
        word, test = _KINDS[self.kind]

        def observe(operation: Operation, results: tuple[torch.Tensor, ...]) -> None:
            for variable, tensor in zip(operation.outputs, results, strict=True):
                if seen or not tensor.is_floating_point():
                    continue
                bad = int(torch.count_nonzero(test(tensor)))
                if bad:
                    count = f"{bad} of {tensor.numel()} elements of {variable.name!r}"
                    seen.append(f"{count}, made by {operation.type}, are {word}")

        attempt.predict(self.numerics, observe)
        return seen[0] if seen else None

    def suspects(self, attempt: Attempt, recording: RunValues, scratch: Path) -> tuple[str, ...]:
        """Return the first value that is not finite."""
        test = _KINDS[self.kind][1]
        for name in recording:
            array = recording[name]
            if array.dtype.kind == "f" and bool(test(torch.from_numpy(array)).any()):
                return (name,)
        return ()


@dataclass(frozen=True)
class Raises(Oracle):
    """The executor can't execute the program on its inputs.

    Attributes:
        numerics: how the program is executed.
    """

    numerics: str = "storage"
    words = "the executor raises an error"

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the command."""
        return ("--fails-when", "error", "--numerics", self.numerics)

    def judge(self, attempt: Attempt) -> str | None:
        """Return the error's message."""
        try:
            attempt.predict(self.numerics)
        except ExecutionError as error:
            return str(error)
        return None

    def suspects(self, attempt: Attempt, recording: RunValues, scratch: Path) -> tuple[str, ...]:
        """Return what was to be made after the last value that was made."""
        names = [[v.name for v in o.outputs] for o in attempt.model.operations]
        done = [i for i, made in enumerate(names) if made and made[0] in recording]
        following = names[done[-1] + 1 if done else 0 :]
        return tuple(made[0] for made in following[:_FEW] if made)


_FEW = 8  # operations whose results are no tensors may hide which one failed


@dataclass(frozen=True, eq=False)
class Differs(Oracle):
    """An output is not what a reference says: numbers by SNR, integers and truth values exactly.

    Attributes:
        min_snr_db: what an output of floating-point numbers must exceed.
        reference: name of the numerics in which the same program is the reference; or the expected
            tensors, by the names of outputs and, as far as they are known, of inner values.
        numerics: how the program is executed.
    """

    min_snr_db: float
    reference: str | Mapping[str, np.ndarray] = "float64"
    numerics: str = "storage"

    @property
    def words(self) -> str:
        """What failing is, as the end of a sentence."""
        named = isinstance(self.reference, str)
        right = f"{self.reference} numerics" if named else "what is expected"
        return (
            f"the SNR of an output against {right} is at most {self.min_snr_db:g} dB, "
            "or an integer in one is another"
        )

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the command."""
        named = isinstance(self.reference, str)
        against = ("--reference", str(self.reference)) if named else ("--expected", EXPECTED)
        condition = f"snr<{self.min_snr_db:g}"
        return ("--fails-when", condition, "--numerics", self.numerics, *against)

    def judge(self, attempt: Attempt) -> str | None:
        """Return which output is how far off."""
        actual = attempt.predict(self.numerics)
        expected = self.expected(attempt)
        if not expected:
            names = ", ".join(feature.name for feature in attempt.model.outputs)
            raise ContractError(
                f"none of the outputs ({names}) is a tensor of numbers with an expected value, so "
                "nothing can be compared; judge by --command"
            )
        for name, tensor in expected.items():
            reason = self._difference(tensor, actual[name])
            if reason is not None:
                return f"output {name!r}: {reason}"
        return None

    def expected(self, attempt: Attempt) -> Mapping[str, np.ndarray]:
        """Return the reference's outputs, those that are tensors of numbers."""
        names = [feature.name for feature in attempt.model.outputs]
        reference = self.reference
        if isinstance(reference, str):
            reference = attempt.predict(reference)
        found = {name: reference[name] for name in names if name in reference}
        return {
            name: value
            for name, value in found.items()
            if isinstance(value, np.ndarray) and value.dtype.kind in _NUMBERS
        }

    def _difference(self, expected: np.ndarray, actual: np.ndarray) -> str | None:
        if actual.dtype.kind in _INTEGERS and expected.shape == actual.shape:
            return _other_integers(expected, actual)
        gate = Gate("reduce", "given by the user", None, None, self.min_snr_db)
        outcome = compare(expected.astype(np.float64), actual.astype(np.float64), gate)
        return None if outcome.verdict is Verdict.PASS else outcome.reason

    def suspects(self, attempt: Attempt, recording: RunValues, scratch: Path) -> tuple[str, ...]:
        """Return the first value that is too far off."""
        reference = self.reference
        known: RunValues | Mapping[str, np.ndarray]
        known = RunValues(attempt, reference, scratch) if isinstance(reference, str) else reference
        for name in recording:
            actual = recording[name]
            comparable = name in known and actual.dtype.kind in _NUMBERS and actual.size
            if comparable and self._difference(known[name], actual) is not None:
                return (name,)
        return ()


def _other_integers(expected: np.ndarray, actual: np.ndarray) -> str | None:
    """Say how many integers of ``actual`` are others than in ``expected``, of the same shape."""
    wrong = np.argwhere(np.not_equal(expected, actual))
    if not len(wrong):
        return None
    place = tuple(int(index) for index in wrong[0])
    return (
        f"{len(wrong)} of {actual.size} integers are wrong, the first at {place}: "
        f"{actual[place]} instead of {expected[place]}"
    )


def parse_condition(
    text: str, *, numerics: str, reference: str | Mapping[str, np.ndarray]
) -> Oracle:
    """Return the oracle of a condition: ``nan``, ``inf``, ``nonfinite``, ``error``, ``snr<DB``.

    Args:
        text: the condition.
        numerics: how programs are executed.
        reference: what ``snr<DB`` compares with, as in `Differs`.

    Raises:
        ParityError: it is none.
    """
    condition = text.replace(" ", "").lower()
    if condition in _KINDS:
        return NotFinite(condition, numerics)
    if condition == "error":
        return Raises(numerics)
    found = re.fullmatch(r"snr<(\d+(?:\.\d+)?)(?:db)?", condition)
    if found is None:
        known: Sequence[str] = (*_KINDS, "error", "snr<60")
        raise ParityError(f"unknown condition {text!r}; known are {', '.join(known)}")
    return Differs(float(found[1]), reference, numerics)


def check_expected(expected: Mapping[str, np.ndarray], attempt: Attempt, source: object) -> None:
    """Check that some output of ``attempt`` is among the expected tensors.

    Raises:
        ContractError: none is.
    """
    names = [feature.name for feature in attempt.model.outputs]
    if not set(names) & set(expected):
        raise ContractError(
            f"{source} holds none of the outputs {', '.join(names)}, so nothing can be compared"
        )


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
        words = [
            word.replace("{package}", str(package)).replace("{inputs}", str(inputs))
            for word in self._words
        ]
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
