"""Judges that need no model: what they call sound must be sound, and bugs must show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.audio import SEGMENT_LENGTH
from harness.audio.segments import separate_stream
from harness.faults.injector import judge_gate
from harness.faults.judges.sessions import judge_by_suite, judge_session
from harness.faults.judges.stems import Joiner
from harness.faults.judges.transform import Port
from harness.faults.judging import inject, sound_digests
from harness.faults.registry import Fault, get_fault
from harness.verdicts import FaultOutcome, InjectedFault, Verdict, gate
from suites.stft.reference_stft import reference_spectrogram, reference_waveform


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal((1, 2, 20_000))).astype(np.float32)


def test_the_sound_port_is_the_independent_description(noise: np.ndarray) -> None:
    """With a wrong port every bug in it would be judged against nonsense."""
    spectrogram = Port().forward(noise)
    np.testing.assert_allclose(spectrogram, reference_spectrogram(noise), rtol=1e-5, atol=1e-6)
    again = Port().inverse(spectrogram[:, np.newaxis], noise.shape[-1])
    expected = reference_waveform(spectrogram[:, np.newaxis], noise.shape[-1])
    np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("order", [(2, 3, 0, 1), (0, 2, 1, 3)])
def test_a_port_with_another_order_still_round_trips(
    noise: np.ndarray, order: tuple[int, int, int, int]
) -> None:
    """Bugs that are made both ways are invisible to a round trip: they must really be both ways."""
    wrong = replace(Port(), channels=order, sign=-1.0)
    again = wrong.inverse(wrong.forward(noise)[:, np.newaxis], noise.shape[-1])
    right = Port().inverse(Port().forward(noise)[:, np.newaxis], noise.shape[-1])
    np.testing.assert_allclose(again, right, atol=1e-6)


@pytest.mark.parametrize("length", [1000, SEGMENT_LENGTH, SEGMENT_LENGTH + 1, 800_000])
def test_the_sound_joiner_is_the_stream(length: int) -> None:
    audio = np.random.default_rng(1).standard_normal((2, length)).astype(np.float32)

    def predict(part: np.ndarray) -> np.ndarray:
        ramp = np.linspace(0.5, 1.5, SEGMENT_LENGTH, dtype=np.float32)
        return part[0][np.newaxis] * ramp

    expected = np.concatenate(list(separate_stream([audio], predict)), axis=-1)
    np.testing.assert_allclose(Joiner()(audio, predict), expected, rtol=1e-6, atol=1e-6)


def test_a_loosened_gate_is_put_back() -> None:
    """Otherwise everything that is judged later is judged by it."""
    sound, seen = gate("end_to_end"), []

    def escaped(sentinel: Fault) -> InjectedFault:
        seen.append(gate("end_to_end"))
        return InjectedFault(sentinel.name, "stems", "b", "s", "end_to_end", FaultOutcome.MISSED)

    (said,) = judge_gate(escaped, get_fault("harness.loosened-end-to-end"))
    assert said.outcome.verdict is Verdict.FAIL
    assert [found.min_snr_db for found in seen] == [50.0]
    assert gate("end_to_end") is sound


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["metrics.epsilon-in-ratio", "harness.test-skipped"])
def test_a_bug_in_a_process_of_its_own_is_caught_there_and_stays_there(name: str) -> None:
    bug = get_fault(name)
    judge = judge_session if bug.judge == "session" else judge_by_suite
    assert inject(bug, judge, sound_digests(judge, bug)).caught
