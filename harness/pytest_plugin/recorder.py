"""What a test says about its checks, as properties of its report.

Properties travel as JSON text: pytest-xdist can't carry NumPy scalars, and the JUnit writer wants
strings.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, NoReturn

import numpy as np
import pytest

from harness.errors import command_line
from harness.verdicts import (
    Check,
    GoldenState,
    InjectedFault,
    Outcome,
    Verdict,
    bound,
    compare,
    gate,
    not_evaluated,
)
from harness.verdicts.jsondata import plain
from harness.verdicts.rows.artefacts import KIND_OF

PREFIX: Final = "parity."
"""Of the names of properties that a run takes over."""


_MISSED: Final[pytest.StashKey[list[str]]] = pytest.StashKey()
"""Gating checks of a test that did not pass."""


class CheckFailed(AssertionError):
    """A gating check did not pass; the run knows it, and how it counts."""


def raise_missed(item: pytest.Item) -> None:
    """Raise `CheckFailed` if a gating check of the test did not pass."""
    missed = item.stash.get(_MISSED, [])
    if missed:
        raise CheckFailed("; ".join(missed))


def put(item: pytest.Item, kind: str, value: Any) -> None:
    """Have the test's reports carry ``value``, which JSON can hold."""
    item.user_properties.append((PREFIX + kind, json.dumps(value)))


class Recorder:
    """Records what one test finds; the fixture ``parity``.

    Every method that compares returns the outcome after recording it. A gating check that did not
    pass fails the test once it has come to its end: what it looks at after that is judged, too,
    even if that check is waived. What could not be evaluated ends it at once.
    """

    def __init__(self, item: pytest.Item, layer: str) -> None:
        self._item = item
        self.layer = layer
        self._clock = time.perf_counter()

    def compare(
        self,
        expected: np.ndarray,
        actual: np.ndarray,
        gate_name: str,
        *,
        gating: bool = True,
        **labels: str,
    ) -> Outcome:
        """Compare two arrays under a gate of the table."""
        outcome = compare(expected, actual, gate(gate_name))
        return self.record(outcome, gate_name, gating=gating, **labels)

    def bound(self, value: float, gate_name: str, *, gating: bool = True, **labels: str) -> Outcome:
        """Judge one number under a gate of the table."""
        outcome = bound(value, gate(gate_name), what=labels.get("what", "the value"))
        return self.record(outcome, gate_name, gating=gating, **labels)

    def not_evaluated(self, reason: str, gate_name: str, **labels: str) -> NoReturn:
        """Record that something required could not be looked at; raises `CheckFailed`."""
        self.record(not_evaluated(reason), gate_name, gating=True, **labels)
        raise CheckFailed(f"{gate_name}: {reason}")

    def record(
        self, outcome: Outcome, gate_name: str, *, gating: bool = True, **labels: str
    ) -> Outcome:
        """Record an outcome that was computed elsewhere."""
        check = Check(self.layer, labels, gating, gate(gate_name), outcome)
        self.add([check])
        return outcome

    def add(self, checks: Iterable[Check]) -> None:
        """Record checks as they are made; each is timed from the one before it."""
        for check in checks:
            now = time.perf_counter()
            timed = replace(
                check,
                duration_s=round(now - self._clock, 4),
                command=self._command(),
            )
            self._clock = now
            put(self._item, "check", plain(timed))
            if check.gating and check.verdict is not Verdict.PASS:
                self._item.stash.setdefault(_MISSED, []).append(check.complaint)

    def _command(self) -> str:
        """Return what makes the checks of this test again."""
        declaration = self._item.config.getoption("--declaration")
        if declaration is None:
            return f"python -m pytest {shlex.quote(self._item.nodeid)}"
        parameters = getattr(getattr(self._item, "callspec", None), "params", {})
        asked = [(name, parameters[name]) for name in ("case", "recipe") if name in parameters]
        options = [word for name, value in asked for word in (f"--{name}", value)]
        return command_line("run", declaration, *options)

    def fault(self, fault: InjectedFault) -> InjectedFault:
        """Record a known bug that was injected; raises unless it was caught."""
        put(self._item, "fault", plain(fault))
        if not fault.caught:
            raise CheckFailed(fault.complaint)
        return fault

    def golden(self, state: GoldenState) -> None:
        """Record what was found of a golden."""
        put(self._item, "golden", vars(state))

    def executed(self, engine: str) -> None:
        """Record that an engine really executed something."""
        put(self._item, "executed", engine)

    def keep(self, row: Any) -> None:
        """Record a row of `harness.verdicts.rows` for the report."""
        put(self._item, "row", [KIND_OF[type(row)], plain(row)])
