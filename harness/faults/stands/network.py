"""The extracted network in PyTorch, judged by the surgery layer behind every block."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from harness.engines.torch_engine import TorchSession
from harness.faults.judging import Finding
from harness.faults.registry import Fault
from harness.faults.stands.common import compared, judged
from harness.subjects import FullHybridHTDemucs, extract_inner_model
from harness.workbench import Workbench, inner_taps, stems_of
from harness.workbench.bench import BRANCHES


class NetworkStand:
    """Injections get a network of their own, with its own weights, and return it or another."""

    def __init__(self, bench: Workbench, subject: str) -> None:
        self._bench, self._subject = bench, subject

    def control(self, fault: Fault) -> Iterator[Finding]:
        """Judge the sound network."""
        return self._judge(fault, self._network())

    def trial(self, fault: Fault) -> Iterator[Finding]:
        """Judge the network with the bug."""
        return judged("surgery", self._judge(fault, fault.inject(self._network())))

    def _network(self) -> FullHybridHTDemucs:
        return extract_inner_model(copy.deepcopy(self._bench.subject(self._subject).model))

    def _judge(self, fault: Fault, network: FullHybridHTDemucs) -> Iterator[Finding]:
        original = self._bench.original(self._subject, fault.case)
        taps = inner_taps(self._subject) if self._bench.goldens.cases[fault.case].taps else ()
        inputs = self._bench.inputs_here(self._subject, fault.case)
        values = TorchSession(network).predict(inputs, taps=taps)
        for tap in taps:
            yield compared("surgery", "surgery", f"tap {tap}", original[f"tap.{tap}"], values[tap])
        for branch in BRANCHES:
            yield compared("surgery", "surgery", branch, original[branch], values[branch])
        stems = stems_of({branch: values[branch] for branch in BRANCHES})
        yield compared("surgery", "surgery", "stems", original["stems"], stems)
