"""Surgery: the network that is cut out of its STFT computes what the original computes.

The golden tensors come from the original HTDemucs, observed while it ran; the actual ones from
`FullHybridHTDemucs` on the golden spectrogram and audio.
"""

from __future__ import annotations

import pytest

from harness.golden import Golden
from harness.pytest_plugin import Recorder
from harness.workbench import Workbench

pytestmark = pytest.mark.layer("surgery")


@pytest.mark.cases("segment")
def test_branch(
    parity: Recorder, bench: Workbench, golden: Golden, subject: str, case: str, branch: str
) -> None:
    actual = bench.extracted(subject, case).outputs[branch]
    parity.executed("torch")
    labels = {"subject": subject, "case": case, "engine": "torch", "tensor": branch}
    parity.compare(golden[branch], actual, "surgery", **labels)


@pytest.mark.cases("segment")
def test_stems(parity: Recorder, bench: Workbench, golden: Golden, subject: str, case: str) -> None:
    actual = bench.extracted(subject, case).stems
    labels = {"subject": subject, "case": case, "engine": "torch", "tensor": "stems"}
    parity.compare(golden["stems"], actual, "surgery", **labels)


@pytest.mark.cases("taps")
def test_tap(
    parity: Recorder, bench: Workbench, golden: Golden, subject: str, case: str, tap: str
) -> None:
    actual = bench.extracted(subject, case).taps[tap]
    labels = {"subject": subject, "case": case, "engine": "torch", "tensor": f"tap {tap}"}
    parity.compare(golden[f"tap.{tap}"], actual, "surgery", **labels)
