"""From a failing program to the smallest one that still fails."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import (
    ContractError,
    ExecutionError,
    PackageError,
    ParityError,
    UnsupportedOperationError,
)
from harness.mil.types import TensorType
from harness.reduction.attempt import Attempt, RunValues
from harness.reduction.cutting import Cutter, Units
from harness.reduction.ddmin import Minimised, OutOfTriesError, Trials, minimise
from harness.reduction.oracles import Differs, Oracle

MAX_TRIES = 500


@dataclass(frozen=True, eq=False)
class Reduction:
    """A failing program that was cut down.

    Attributes:
        attempt: what is left, and its inputs.
        oracle: what failing is.
        evidence: what the oracle saw in what is left.
        whole: what the oracle saw in the whole program.
        operations: how many operations the whole program has, constants not counted.
        minimal: whether it does not fail without any single one of its operations that can be left
            out without another.
        tries: how many parts of the program were tried.
    """

    attempt: Attempt
    oracle: Oracle
    evidence: str
    whole: str
    operations: int
    minimal: bool
    tries: int


def reduce(
    attempt: Attempt,
    oracle: Oracle,
    *,
    max_tries: int = MAX_TRIES,
    advance: Callable[[int, int], None] = lambda *_: None,
) -> Reduction:
    """Return the smallest part of ``attempt`` that still fails.

    Args:
        attempt: the whole program and its inputs.
        oracle: what failing is.
        max_tries: how many parts may be tried; then the smallest so far is returned.
        advance: told after each try how many were made, and of how many at most.

    Raises:
        ParityError: it does not fail, or not once it is cut, or nobody can say.
    """
    whole = oracle.judge(attempt)
    if whole is None:
        raise ParityError(
            f"nothing to reduce: {attempt.model.package.path} does not fail on these inputs "
            f"(failing is: {oracle.words})"
        )
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch, name) for name in ("run", "reference")]
        for folder in folders:
            folder.mkdir()
        recording = RunValues(attempt, oracle.numerics, folders[0])
        cutter = Cutter(attempt, _known(oracle, attempt, recording))
        units = Units(cutter)
        trials = Trials(
            lambda kept: _judge(oracle, cutter, units.operations(kept)) is not None,
            max_tries,
            advance,
        )
        suspects = oracle.suspects(attempt, recording, folders[1])
        left = _search(units, trials, [units.of_value(name) for name in suspects])
        reduced = cutter.cut(units.operations(left.parts))
    evidence = oracle.judge(reduced)
    assert evidence is not None  # it was tried
    operations = len(attempt.model.operations)
    return Reduction(reduced, oracle, evidence, whole, operations, left.minimal, trials.tries)


def _known(
    oracle: Oracle, attempt: Attempt, recording: RunValues
) -> RunValues | Mapping[str, np.ndarray]:
    """Return the values at which a program may be cut.

    Where tensors are expected, a part gets expected inputs too: a wrong output is then its fault.
    """
    if not isinstance(oracle, Differs) or isinstance(oracle.reference, str):
        return recording
    plan, expected = attempt.model.plan, oracle.reference
    types = {name: plan.types[plan.slots[name]] for name in expected if name in plan.slots}
    return {
        name: expected[name]
        for name, declared in types.items()
        if isinstance(declared, TensorType) and declared.accepts(expected[name].shape)
    }


def _judge(oracle: Oracle, cutter: Cutter, keep: frozenset[int]) -> str | None:
    """Return what the oracle saw; parts that make no program that it can judge don't fail."""
    try:
        return oracle.judge(cutter.cut(keep))
    except (ContractError, ExecutionError, PackageError, UnsupportedOperationError):
        return None


def _search(units: Units, trials: Trials, suspects: list[int | None]) -> Minimised:
    """Return the smallest failing set of units, beginning near the suspects."""
    try:
        for suspect in dict.fromkeys(unit for unit in suspects if unit is not None):
            for near in units.slices(suspect):
                if trials(near):
                    return minimise(near, trials)
        everything = tuple(range(len(units.members)))
        if trials(everything):
            return minimise(everything, trials)
    except OutOfTriesError:
        raise ParityError(
            f"no failing part was found within {trials.tries} tries; give more by --max-tries"
        ) from None
    raise ParityError(
        "the program fails, but not once its inputs and values are fixed, so it can't be cut"
    )
