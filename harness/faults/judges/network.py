"""The extracted network in PyTorch, judged by the surgery layer behind every block."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from harness.conversion import TapLocation
from harness.engines.torch_engine import TorchSession
from harness.faults.judges.common import judged
from harness.faults.judging import Finding
from harness.faults.registry import Fault
from harness.layers import surgery_checks
from harness.subjects import FullHybridHTDemucs, extract_inner_model
from harness.verdicts import Check
from harness.workbench import Workbench, predict_segment


class NetworkStand:
    """Injections get a network of their own, with its own weights, and return it or another."""

    def __init__(self, bench: Workbench, subject: str) -> None:
        self._bench, self._subject = bench, subject

    def control(self, fault: Fault) -> Iterator[Finding]:
        """Judge the sound network."""
        return judged("surgery", self._judge(fault.case, self._network()))

    def trial(self, fault: Fault) -> Iterator[Finding]:
        """Judge the network with the bug."""
        return judged("surgery", self._judge(fault.case, fault.inject(self._network())))

    def _network(self) -> FullHybridHTDemucs:
        return extract_inner_model(copy.deepcopy(self._bench.goldens.subject(self._subject).model))

    def _judge(self, case: str, network: FullHybridHTDemucs) -> Iterator[Check]:
        goldens = self._bench.goldens
        original, taps = goldens.original(self._subject, case), goldens.taps(self._subject, case)
        located = {tap: TapLocation(tap) for tap in taps}
        inputs, session = goldens.inputs_here(self._subject, case), TorchSession(network)
        made = predict_segment(goldens.network(self._subject), session.predict, inputs, located)
        yield from surgery_checks(original, made.tensors, taps, {}, outputs=made.results)
