"""Subjects and their goldens: what is expected, made once and kept while it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.golden import Case, Fetched, GoldenStatus, GoldenStore
from harness.golden.builder import observe_inputs
from harness.profiles import DEFAULT
from harness.subjects import Network, Subject, load_subject
from harness.subjects.calls import of_call
from harness.verdicts import LOCAL_GOLDEN, Gate, GoldenState, gate


class Goldens:
    """The subjects of a run, and their goldens under one folder.

    Args:
        root: the folder with ``recipes.toml`` and ``manifest.json``.
    """

    def __init__(self, root: Path) -> None:
        self.store: GoldenStore[Subject] = GoldenStore(root)
        # An open golden takes no memory, and opening one again would hash its file again.
        self.fetch = lru_cache(maxsize=None)(self._fetch)
        # Bounded caches: tests come ordered by subject, case and recipe, so a few places suffice.
        self.subject = lru_cache(maxsize=2)(load_subject)
        self.original = lru_cache(maxsize=2)(self._original)

    @property
    def cases(self) -> Mapping[str, Case]:
        """The golden cases, by name."""
        return self.store.cases

    def network(self, subject: str) -> Network:
        """Return what a subject is."""
        return self.subject(subject).network

    def _fetch(self, subject: str, case: str) -> Fetched:
        return self.store.fetch(self.subject(subject), case)

    def state(self, subject: str, case: str) -> GoldenState:
        """Return what was found of a golden, as a run records it."""
        fetched = self.fetch(subject, case)
        finding = fetched.finding
        status = finding.run_status
        if status == GoldenStatus.UNRECORDED.value and subject not in DEFAULT.subjects:
            status = LOCAL_GOLDEN  # nobody can commit fingerprints of somebody else's weights
        digest = fetched.golden.record.sha256 if fetched.golden else ""
        return GoldenState(subject, case, status, finding.message, digest)

    def inputs(self, subject: str, case: str) -> dict[str, np.ndarray]:
        """Return a golden's inputs of the network, of all calls (`harness.subjects.calls`)."""
        golden = self.fetch(subject, case).require()
        interface, calls = self.network(subject).interface, range(2, self.cases[case].calls + 1)
        later = [of_call(name, call) for call in calls for name in interface.arguments]
        return {name: golden[name] for name in (*interface.inputs, *later)}

    def taps(self, subject: str, case: str) -> tuple[str, ...]:
        """Return the names of the inner values that the golden of a case holds."""
        interface = self.network(subject).interface
        return interface.inner_taps if self.cases[case].taps else ()

    def bounds(self, subject: str, gate_name: str) -> Gate | None:
        """Return what a network's own outputs are held to by a gate; None for the table's."""
        fields = self.network(subject).bounds.get(gate_name)
        if fields is None:
            return None
        bounds: dict[str, Any] = dict(fields)
        return replace(gate(gate_name), reason="its parity.toml says so", **bounds)

    def _original(self, subject: str, case: str) -> Mapping[str, np.ndarray]:
        """Execute the original on a golden's inputs, in this process; tensors by golden name."""
        inputs = self.inputs(subject, case)
        return observe_inputs(self.subject(subject), inputs, taps=self.cases[case].taps)

    def inputs_here(self, subject: str, case: str) -> dict[str, np.ndarray]:
        """Return the network's inputs as the original made them in this process."""
        here, derived = self.original(subject, case), self.network(subject).derived
        return self.inputs(subject, case) | {name: here[name] for name in derived}
