"""The original itself, executed here, judged by goldens that were made elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from harness.faults.judges.common import judged
from harness.faults.judging import Finding
from harness.faults.registry import Fault
from harness.golden.builder import observe_segment
from harness.layers import golden_checks
from harness.verdicts import Check
from harness.workbench import Workbench


class OriginalStand:
    """Injections get the original HTDemucs with its own weights, and return what Demucs made of it.

    The surgery gate compares the extracted network with the original of the same process, so it
    can't see an original that changed; the golden can.
    """

    def __init__(self, bench: Workbench, subject: str) -> None:
        self._bench, self._subject = bench, subject

    def control(self, fault: Fault) -> Iterator[Finding]:
        """Judge the sound original."""
        return judged("surgery", self._judge(fault.case, self._model()))

    def trial(self, fault: Fault) -> Iterator[Finding]:
        """Judge the changed original."""
        return judged("surgery", self._judge(fault.case, fault.inject(self._model())))

    def _model(self) -> nn.Module:
        return copy.deepcopy(self._bench.goldens.subject(self._subject).model)

    def _judge(self, case: str, model: nn.Module) -> Iterator[Check]:
        golden = self._bench.goldens.fetch(self._subject, case).require()
        subject = replace(self._bench.goldens.subject(self._subject), models=(model,))
        taps = self._bench.goldens.cases[case].taps
        here = observe_segment(subject, golden["audio"], taps=taps)
        yield from golden_checks(golden, here, {})
