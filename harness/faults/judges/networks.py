"""Networks in PyTorch, judged by the surgery layer behind every block.

The gate of surgery compares the extracted network with the original of the same process, so it
can't see an original that changed; the golden, which was made elsewhere, can.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from harness.conversion import TapLocation
from harness.engines.torch_engine import TorchSession
from harness.faults.judging import FaultJudgement, judgements
from harness.faults.registry import Fault
from harness.golden.builder import observe_segment
from harness.layers import golden_checks, surgery_checks
from harness.subjects import FullHybridHTDemucs, extract_inner_model
from harness.verdicts import Check
from harness.workbench import Workbench, predict_segment


def judge_network(bench: Workbench, subject: str, fault: Fault) -> Iterator[FaultJudgement]:
    """Judge the extracted network; an injection changes a copy with weights of its own."""
    network = extract_inner_model(copy.deepcopy(bench.goldens.subject(subject).model))
    fault.inject(network)
    yield from judgements("surgery", _network_checks(bench, subject, fault.case, network))


def _network_checks(
    bench: Workbench, subject: str, case: str, network: FullHybridHTDemucs
) -> Iterator[Check]:
    goldens = bench.goldens
    original, taps = goldens.original(subject, case), goldens.taps(subject, case)
    located = {tap: TapLocation(tap) for tap in taps}
    inputs, session = goldens.inputs_here(subject, case), TorchSession(network)
    made = predict_segment(goldens.network(subject), session.predict, inputs, located)
    yield from surgery_checks(original, made.tensors, taps, {}, outputs=made.results)


def judge_original(bench: Workbench, subject: str, fault: Fault) -> Iterator[FaultJudgement]:
    """Judge the original as it is executed here; an injection changes a copy of it."""
    model = copy.deepcopy(bench.goldens.subject(subject).model)
    fault.inject(model)
    yield from judgements("surgery", _original_checks(bench, subject, fault.case, model))


def _original_checks(
    bench: Workbench, subject: str, case: str, model: nn.Module
) -> Iterator[Check]:
    golden = bench.goldens.fetch(subject, case).require()
    changed = replace(bench.goldens.subject(subject), models=(model,))
    here = observe_segment(changed, golden["audio"], taps=bench.goldens.cases[case].taps)
    yield from golden_checks(golden, here, {})
