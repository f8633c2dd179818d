"""Surgery: the network that is cut out of its STFT computes what the original computes.

Both run in this process, one after the other: a gate of 1e-5 and 1e-7 is narrower than the order of
a sum, which depends on the threads and the processor. The expected tensors are the original's,
observed while it runs; the actual ones `FullHybridHTDemucs`' on the same spectrogram and audio.
That the original computes here what the golden holds is asked apart.
"""

from __future__ import annotations

import pytest

from harness.golden import Golden
from harness.layers import golden_checks, surgery_checks
from harness.profiles import SUBJECT_ENGINE
from harness.pytest_plugin import Recorder
from harness.workbench import Workbench

pytestmark = [pytest.mark.layer("surgery"), pytest.mark.cases("segment")]


@pytest.mark.subjects("cut")
@pytest.mark.engines("subject")
def test_extracted_network_is_the_original(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    subject: str,
    case: str,
    engine: str,
) -> None:
    original = bench.goldens.original(subject, case)
    extracted = bench.predictions.extracted(subject, case, engine)
    parity.executed(engine)
    taps = bench.predictions.taps(subject, case, engine)
    labels = {"subject": subject, "case": case, **bench.predictions.labels(engine)}
    results = extracted.results
    parity.add(surgery_checks(original, extracted.tensors, taps, labels, outputs=results))


def test_golden_is_what_the_original_computes_here(
    parity: Recorder,
    bench: Workbench,
    golden: Golden,
    subject: str,
    case: str,
) -> None:
    labels = {"subject": subject, "case": case, "engine": SUBJECT_ENGINE}
    parity.add(golden_checks(golden, bench.goldens.original(subject, case), labels))
    parity.executed(SUBJECT_ENGINE)
