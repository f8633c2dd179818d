"""The inputs of a campaign, as things that travel to another process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from harness.conversion import compare_weights, read_sidecar
from harness.errors import ParityError
from harness.faults.mutation.detector import Detection, Detector
from harness.faults.mutation.runner import MutantRunner
from harness.mil import Model
from harness.subjects import describe_subject
from harness.verdicts import Verdict
from harness.workbench import Workbench, taps_in
from harness.workbench.sources.cases import call_inputs, find_cases

HELD_OUT: Final = "held-out song"
HELD_OUT_CASE: Final = "song:9001"
"""Its seed is that of no golden case, and of no clean run, whose seeds begin at 1000."""


@dataclass(frozen=True)
class MutationTarget:
    """A package, and the model that it was converted from.

    Attributes:
        package: the ``.mlpackage``; its sidecar says where the taps are.
        golden_root: the golden folder.
        subject: name of the model.
    """

    package: Path
    golden_root: Path
    subject: str

    def cases(self) -> tuple[str, ...]:
        """Return the golden cases of one segment, in the order of their recipes."""
        known = self._bench().goldens.cases
        return tuple(name for name, case in known.items() if not case.is_file)

    def runner(self, model: Model, name: str) -> MutantRunner:
        """Return the runner of a golden case, or of the held-out input.

        Raises:
            ParityError: the golden is not usable, the package does not say where a tap is, or it
                fails a check unmutated.
        """
        sources = describe_subject(self.subject).sources
        if name == HELD_OUT:
            (case,) = find_cases([HELD_OUT_CASE], self.golden_root).values()
            return MutantRunner(model, name, call_inputs(self.subject, case, 1), None, sources)
        bench = self._bench()
        golden = bench.goldens.fetch(self.subject, name).require()
        inputs = {k: np.array(v) for k, v in bench.goldens.inputs(self.subject, name).items()}
        taps = bench.goldens.taps(self.subject, name)
        located = taps_in(read_sidecar(self.package), taps)
        missing = [tap for tap in taps if tap not in located]
        if missing:
            raise ParityError(f"{self.package} does not say where the tap {missing[0]!r} is")
        expected = {key: golden[key] for key in golden.names if key not in inputs}
        detector = Detector(expected, located, sources=sources)
        return MutantRunner(model, name, inputs, detector, sources)

    def read(self, model: Model) -> Detection | None:
        """Compare a program's constants with the tensors of the subject."""
        subject = self._bench().goldens.subject(self.subject)
        found = compare_weights(model, subject.network.constants(subject.model))
        if found.verdict == Verdict.PASS.value:
            return None
        return Detection("conversion", "weights", "constants", None)

    def _bench(self) -> Workbench:
        return _workbench(self.golden_root, self.package.parent)


@lru_cache(maxsize=1)
def _workbench(golden_root: Path, scratch: Path) -> Workbench:
    return Workbench(golden_root, scratch)
