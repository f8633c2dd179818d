"""Surgery: the network that is cut out of its STFT computes what the original computes.

Both run in this process, one after the other: a gate of 1e-5 and 1e-7 is narrower than the order of
a sum, which depends on the threads and the processor. The expected tensors are the original's,
observed while it runs; the actual ones `FullHybridHTDemucs`' on the same spectrogram and audio.
That the original computes here what the golden holds is a check of its own.
"""

from __future__ import annotations

import pytest

from harness.golden import Golden
from harness.pytest_plugin import Recorder
from harness.workbench import Workbench, tensor_label

pytestmark = pytest.mark.layer("surgery")


@pytest.mark.cases("segment")
def test_branch(
    parity: Recorder, bench: Workbench, golden: Golden, subject: str, case: str, branch: str
) -> None:
    expected = bench.original(subject, case)[branch]
    actual = bench.extracted(subject, case).outputs[branch]
    parity.executed("torch")
    labels = {"subject": subject, "case": case, "engine": "torch", "tensor": branch}
    parity.compare(expected, actual, "surgery", **labels)


@pytest.mark.cases("segment")
def test_stems(parity: Recorder, bench: Workbench, golden: Golden, subject: str, case: str) -> None:
    expected = bench.original(subject, case)["stems"]
    actual = bench.extracted(subject, case).stems
    labels = {"subject": subject, "case": case, "engine": "torch", "tensor": "stems"}
    parity.compare(expected, actual, "surgery", **labels)


@pytest.mark.cases("taps")
def test_tap(
    parity: Recorder, bench: Workbench, golden: Golden, subject: str, case: str, tap: str
) -> None:
    expected = bench.original(subject, case)[f"tap.{tap}"]
    actual = bench.extracted(subject, case).taps[tap]
    labels = {"subject": subject, "case": case, "engine": "torch", "tensor": f"tap {tap}"}
    parity.compare(expected, actual, "surgery", **labels)


@pytest.mark.cases("segment")
def test_golden_is_what_the_original_computes_here(
    parity: Recorder, bench: Workbench, golden: Golden, subject: str, case: str
) -> None:
    for tensor, actual in bench.original(subject, case).items():
        label = tensor_label(tensor)
        labels = {"subject": subject, "case": case, "engine": "torch", "tensor": label}
        parity.compare(golden[tensor], actual, "golden_here", **labels)
