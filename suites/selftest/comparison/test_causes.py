"""A planted mistake is named, and where there is none, none is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from harness.comparison.arrays import explain_array, explain_shape
from harness.comparison.causes import CAUSES
from harness.comparison.waves import explain_wave
from harness.verdicts import Gate, gate
from suites.selftest.comparison import planted as suite

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[2] / "docs" / "comparing.md"
STEMS = gate("end_to_end")
RATE = 44_100


def noise(seed: int, shape: tuple[int, ...], scale: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape) * scale


def test_every_tenth_planted_mistake_is_named() -> None:
    answers = [(case.truth, suite.answer(case)) for case in suite.sample(10)]
    assert len(answers) == 40
    wrong = [pair for pair in answers if pair[0] != pair[1]]
    assert len(wrong) <= 2, wrong
    assert not [pair for pair in wrong if pair[0] in (suite.EXACT, suite.PASSES)]


@pytest.mark.exhaustive
def test_all_planted_mistakes_are_named_as_the_document_says() -> None:
    """400 cases, about half a minute; the table in the document is theirs."""
    answers = [(case.truth, suite.answer(case)) for case in suite.planted()]
    assert len(answers) == 400
    assert sum(truth == said for truth, said in answers) >= 0.95 * len(answers)
    calm = [said for truth, said in answers if truth in (suite.EXACT, suite.PASSES)]
    assert len(calm) == 120
    assert set(calm) == {suite.EXACT, suite.PASSES}
    assert suite.confusion(answers) in DOCUMENT.read_text(encoding="utf-8")


def test_the_document_counts_the_cases_that_exist() -> None:
    """The table of the long test has gone stale where cases were added and nobody ran it."""
    planned = [truth for truth, _, _ in suite._plan()]
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([a-z ]+?) \| (\d+) \| \d+", text, re.MULTILINE))
    assert int(rows.pop("all")) == len(planned) == 400
    assert {name: int(count) for name, count in rows.items()} == {
        truth: planned.count(truth) for truth in set(planned)
    }


def test_the_document_names_every_cause() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [name for name in CAUSES if f"| {name} | {CAUSES[name]} |" not in text] == []


class TestTheNumberIsRight:
    """A cause with a wrong number sends people to the wrong line of code."""

    @pytest.mark.parametrize("samples", [-4000, -1, 1, 37, 4000])
    def test_delay(self, samples: int) -> None:
        e = noise(1, (2, RATE))
        a = np.roll(e, samples, axis=1)
        cause = explain_wave(e, a, STEMS, rate=RATE)
        assert cause is not None
        assert cause.name == "delay"
        side = "late" if samples > 0 else "early"
        assert cause.words.startswith(f"{side} by {abs(samples)} sample")
        assert cause.snr_db == np.inf

    def test_fraction_of_a_sample(self) -> None:
        spectrum = np.fft.rfft(noise(2, (2, RATE)))
        spectrum[:, RATE // 4 :] = 0
        ramp = np.exp(-2j * np.pi * np.fft.rfftfreq(RATE) * 2.25)
        e, a = np.fft.irfft(spectrum, RATE), np.fft.irfft(spectrum * ramp, RATE)
        cause = explain_wave(e, a, STEMS, rate=RATE)
        assert cause is not None
        assert cause.words.startswith("late by 2.250 samples")

    @pytest.mark.parametrize(("gain", "words"), [(2.0, "6.02 dB too loud"), (0.5, "6.02 dB too")])
    def test_gain(self, gain: float, words: str) -> None:
        e = noise(3, (2, RATE))
        cause = explain_wave(e, gain * e, STEMS, rate=RATE)
        assert cause is not None
        assert words in cause.words
        assert f"(gain {gain:g})" in cause.words

    def test_only_the_wrong_second_and_channel_are_blamed(self) -> None:
        e = noise(4, (2, 5 * RATE))
        a = e.copy()
        a[1, 3 * RATE : 4 * RATE] *= 0.9
        cause = explain_wave(e, a, STEMS, rate=RATE)
        assert cause is not None
        assert cause.name == "gain"
        assert cause.words.startswith("right, from 3.00 to 4.00 s: 0.915 dB too soft")

    def test_a_gap_says_when_it_begins_and_whether_it_ends(self) -> None:
        e = noise(5, (2, 3 * RATE))
        for stop, words in ((None, "lost from 1.500 s on"), (2 * RATE, "1.500 s to 2.000 s")):
            a = e.copy()
            a[:, 3 * RATE // 2 : stop] = 0
            cause = explain_wave(e, a, STEMS, rate=RATE)
            assert cause is not None
            assert words in cause.words

    def test_another_stem_is_called_by_its_name(self) -> None:
        e, other = noise(6, (2, RATE)), noise(7, (2, RATE))
        cause = explain_wave(
            e, other, STEMS, rate=RATE, others=lambda i, k: [("bass", other[:, i:k])]
        )
        assert cause is not None
        assert cause.words == "another stem stands here: bass"

    def test_two_channels_with_their_own_gains_are_told_apart(self) -> None:
        e = noise(8, (2, RATE))
        cause = explain_wave(e, e * [[0.5], [2.0]], STEMS, rate=RATE)
        assert cause is not None
        assert cause.name == "gain"
        assert "left: 6.02 dB too soft" in cause.words
        assert "right: 6.02 dB too loud" in cause.words


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_clipping_is_named_beside_the_rounding_that_comes_with_it(bits: int) -> None:
    """At 15 dB a rounding to 16 bits is what nobody would look for; the level is what is wrong."""
    e, scale = noise(18, (2, RATE), 0.6), 2.0 ** (bits - 1)
    cause = explain_wave(
        e, np.clip(np.rint(e * scale), -scale, scale - 1) / scale, STEMS, rate=RATE
    )
    assert cause is not None
    assert cause.words.startswith("clipped at")
    soft = 0.2 * e
    cause = explain_wave(soft, np.rint(soft * 64) / 64, STEMS, rate=RATE)
    assert cause is not None
    assert "clipped" not in cause.words


def test_of_a_long_signal_the_worst_part_is_searched() -> None:
    """An hour of stems must not take an hour's memory in float64."""
    e = noise(9, (1, 70 * 8000)).astype(np.float32)
    a = e.copy()
    a[:, 60 * 8000 : 62 * 8000] *= -1
    cause = explain_wave(e, a, STEMS, rate=8000)
    assert cause is not None
    assert cause.words.startswith("from 60.00 to 62.00 s: the polarity is inverted")
    for stop, words in ((None, "lost from 20.000 s on"), (-8000, "20.000 s to at least 30.000 s")):
        a = e.copy()
        a[:, 20 * 8000 : stop] = 0
        cause = explain_wave(e, a, STEMS, rate=8000)
        assert cause is not None
        assert words in cause.words


def test_a_fit_that_takes_a_little_noise_with_it_is_no_cause() -> None:
    """A gain of 1.00001 always helps a bit; it is not why noise of 59.99 dB fails."""
    e = noise(10, (2, RATE))
    a = e + noise(11, (2, RATE), 0.1 * 10 ** (-59.99 / 20))
    assert explain_wave(e, a, Gate("g", "r", min_snr_db=60.0), rate=RATE) is None


def test_what_is_not_finite_has_no_cause() -> None:
    e = noise(12, (2, RATE))
    a = e.copy()
    a[0, 5] = np.nan
    assert explain_wave(e, a, STEMS, rate=RATE) is None


class TestArrays:
    """Taps have no meaning that the name tells, but their axes can still be wrong."""

    GATE = gate("conversion")

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("shift", lambda e: np.roll(e, 1, axis=2)),
            ("layout", lambda e: e[:, ::-1]),
            ("gain", lambda e: 1.01 * e),
            ("offset", lambda e: e + 0.02),
            ("silence", lambda e: 0 * e),
            ("polarity", lambda e: -e),
            ("clipping", lambda e: np.clip(e, -0.15, 0.15)),
        ],
    )
    def test_cause(self, name: str, wrong: object) -> None:
        e = noise(13, (1, 24, 300))
        cause = explain_array(e, wrong(e), self.GATE)  # type: ignore[operator]
        assert cause is not None
        assert cause.name == name

    def test_a_large_tensor_is_searched_where_it_is_worst(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.comparison.arrays.MOST_VALUES", 20 * 15)
        e = noise(14, (300, 15))
        a = e.copy()
        a[200:] *= -1
        e[250, 3] = 5.0
        a[250, 3] = -5.0
        cause = explain_array(e, a, self.GATE)
        assert cause is not None
        assert cause.name == "polarity"

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            (lambda e: e[0], "only the axes of length 1 differ"),
            (lambda e: e.transpose(0, 2, 1), "transposed by (0, 2, 1)"),
            (lambda e: e[..., :-2], "axis 2 (of 300) lacks the last 2"),
            (lambda e: np.pad(e, ((0, 0), (0, 1), (0, 0))), "axis 1 (of 24)"),
        ],
    )
    def test_another_shape(self, wrong: object, words: str) -> None:
        e = noise(15, (1, 24, 300))
        cause = explain_shape(e, wrong(e), self.GATE)  # type: ignore[operator]
        assert cause is not None
        assert words in cause.words

    def test_another_shape_of_other_numbers_has_no_cause(self) -> None:
        assert explain_shape(noise(16, (4, 9)), noise(17, (9, 4)), self.GATE) is None
