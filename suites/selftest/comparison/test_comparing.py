"""What is compared with what, by which gate, and what a file's channels, rate and type do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness.comparison import (
    ComparisonRequest,
    ComparisonRow,
    chosen_gate,
    judge,
    load_all,
    read_file,
    read_side,
)
from harness.comparison.inputs import Audio
from harness.comparison.judging import by_value
from harness.comparison.kinds import kind_of
from harness.comparison.pairing import Pair
from harness.errors import AudioError, ParityError
from harness.layers import stem_outcomes, worst_second
from harness.verdicts import GATES, Gate, Verdict, compare, gate
from suites.selftest.comparison.sides import RATE, compared, failing, noise, tensors, write


def findings(
    expected: np.ndarray, actual: np.ndarray, name: str = "x", **more: object
) -> tuple[ComparisonRow, ...]:
    pair = Pair(name, *tensors(a=expected).values(), *tensors(a=actual).values())
    return judge(pair, (), ComparisonRequest(**more))  # type: ignore[arg-type]


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "gate_name"),
        [
            ("audio", "ops_exact"),
            ("true_stems", "ops_exact"),
            ("spectrogram", "stft"),
            ("song.npz:spectrogram", "stft"),
            ("song/spectrogram.npy", "stft"),
            ("freq", "conversion"),
            ("time", "conversion"),
            ("model.2.freq", "conversion"),
            ("tap.encoder.0", "conversion"),
            ("tap.norm.time", "conversion"),
            ("model.0.tap.spectrogram", "conversion"),
            ("stems", "end_to_end"),
            ("logits", "conversion"),
        ],
    )
    def test_a_name_has_a_gate(self, name: str, gate_name: str) -> None:
        assert kind_of(name).gate == gate_name

    def test_bounds_of_the_user_come_before_those_of_the_kind(self) -> None:
        assert chosen_gate(None, None, None, None) is None
        given_ = chosen_gate(1e-3, 1e-4, 50.0, None)
        assert given_ is not None
        assert (given_.rtol, given_.atol, given_.min_snr_db) == (1e-3, 1e-4, 50.0)
        assert chosen_gate(None, None, None, "surgery") == gate("surgery")

    @pytest.mark.parametrize(
        "arguments",
        [
            (1e-3, None, None, None),
            (None, None, 60.0, "stft"),
            (None, None, None, "audit"),
            (None, None, None, "sfft"),
        ],
    )
    def test_what_makes_no_gate_is_refused(self, arguments: tuple[object, ...]) -> None:
        with pytest.raises(ParityError):
            chosen_gate(*arguments)  # type: ignore[arg-type]

    def test_an_unsuitable_gate_is_answered_with_all_that_suit(self) -> None:
        """A tolerance of zero is one, too."""
        with pytest.raises(ParityError) as refused:
            chosen_gate(None, None, None, "audit")
        told = str(refused.value).rpartition(": ")[2].split(", ")
        suiting = {name for name, row in GATES.items() if "rtol" in row.describe()}
        suiting |= {name for name, row in GATES.items() if "SNR >" in row.describe()}
        assert set(told) == suiting
        assert {"ops_exact", "integers"} <= suiting


class TestByValue:
    @given(
        st.sampled_from(["float16", "float32", "int8", "uint8", "int16"]),
        st.sampled_from(["float32", "float64"]),
        st.lists(st.integers(0, 120), min_size=1, max_size=20),
    )
    def test_equal_numbers_of_two_types_are_equal(
        self, one: str, other: str, values: list[int]
    ) -> None:
        (e, a), note = by_value(np.array(values, one), np.array(values, other))
        assert e.dtype == a.dtype
        assert compare(e, a, gate("ops_exact")).verdict is Verdict.PASS
        assert ("types differ" in note) == (one != other)

    @pytest.mark.parametrize("dtype", ["int64", "uint64", "int32", "bool"])
    def test_another_index_is_another_answer(self, dtype: str) -> None:
        e = np.array([1 << 53 if dtype[-2:] == "64" else 1000, 0], dtype)
        a = e ^ np.array([0, 1], dtype) if dtype == "bool" else e + np.array([1, 0], dtype)
        assert [row.outcome.verdict for row in findings(e, e)] == [Verdict.PASS]
        assert [row.outcome.verdict for row in findings(e, a)] == [Verdict.FAIL]

    def test_half_a_rounding_is_seen(self) -> None:
        """A cast of the reference to FP16 would make it equal to what was rounded."""
        e = noise(0, (50,))
        (row,) = findings(e, e.astype(np.float16), gate=gate("ops_exact"))
        assert row.outcome.verdict is Verdict.FAIL
        assert row.cause is not None
        assert row.cause.words == "rounded to FP16"
        assert row.notes == ("types differ, held by value: float32 against float16",)

    @pytest.mark.parametrize("bad", [np.array(["a"]), np.array([None])])
    def test_what_holds_no_numbers_fails_and_says_so(self, bad: np.ndarray) -> None:
        (row,) = findings(np.ones(1), bad)
        assert row.outcome.verdict is Verdict.FAIL
        assert "holds no numbers" in row.outcome.reason

    def test_integers_that_no_float_holds_are_not_rounded_to_fit(self) -> None:
        (row,) = findings(np.array([2**53 + 1]), np.array([float(2**53)]))
        assert row.outcome.verdict is Verdict.FAIL
        assert "2^53" in row.outcome.reason

    def test_neighbours_among_large_integers_are_told_apart(self) -> None:
        """In float64 they are equal, and an index off by one was exact."""
        e = np.array([2**53, 5])
        (row,) = findings(e, np.array([2**53 + 1, 5]), gate=gate("ops_exact"))
        assert row.outcome.verdict is Verdict.FAIL
        assert row.outcome.observed.endswith("max difference 1")
        assert failing(findings(e, e.copy(), gate=gate("ops_exact"))) == []

    @pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="there is no such type")
    @pytest.mark.parametrize("kind", [np.longdouble, np.clongdouble])
    def test_what_float64_would_round_is_refused(self, kind: type) -> None:
        e = np.ones(3, kind)
        (row,) = findings(e, e + np.finfo(np.longdouble).eps)
        assert row.outcome.verdict is Verdict.FAIL
        assert "wider than float64" in row.outcome.reason

    def test_complex_is_compared_by_its_parts(self) -> None:
        z = noise(1, (2, 30)) + 1j * noise(2, (2, 30))
        assert failing(findings(z, z.copy())) == []
        assert failing(findings(z, z.conj())) == [""]
        assert failing(findings(z, z.real)) == [""]

    def test_nothing_against_nothing_fails(self) -> None:
        assert failing(findings(np.zeros((0, 3)), np.zeros((0, 3)))) == [""]


class TestStems:
    def test_rows(self) -> None:
        wave = noise(3, (6, 2 * RATE))
        rows = list(stem_outcomes(wave, wave.copy(), gate("end_to_end")))
        assert [" ".join(part.values()) for part, _ in rows] == [
            "",
            *(f"channel {n}" for n in range(1, 7)),
            "worst second",
        ]
        assert all(outcome.observed == "exact" for _, outcome in rows)

    def test_the_worst_second_says_when_and_where_it_is(self) -> None:
        e = noise(4, (2, 4 * RATE))
        a = e.copy()
        a[1, 2 * RATE + 5] += 1.0
        outcome = worst_second(e, a, gate("end_to_end"))
        assert outcome.reason.startswith("from 2.00 s, right: SNR")

    def test_a_second_is_a_second_at_the_rate_of_the_file(self) -> None:
        e = noise(5, (1, 40_000))
        a = e.copy()
        a[0, 25_000] += 1.0
        outcome = worst_second(e, a, gate("end_to_end"), 8000)
        assert outcome.reason.startswith("from 3.00 s: SNR")

    def test_stems_of_a_golden_are_judged_one_by_one_and_named(self) -> None:
        e = noise(6, (4, 2, RATE))
        a = e.copy()
        a[[1, 2]] = a[[2, 1]]
        rows = findings(e, a, "stems", sources=lambda _: ("drums", "bass", "other", "vocals"))
        assert len(rows) == 16
        causes = {row.stem: row.cause.words for row in rows if row.cause}
        assert causes == {
            "bass": "another stem stands here: other",
            "other": "another stem stands here: bass",
        }

    @pytest.mark.parametrize(
        ("shape", "stems", "rows"),
        [
            ((4, 2, RATE), "drums bass other vocals", 16),
            ((1, 4, 2, RATE), "drums bass other vocals", 16),
            ((2, 4, 2, RATE), "stem 1 stem 2 stem 3 stem 4 stem 5 stem 6 stem 7 stem 8", 32),
            ((2, RATE), "stem 1", 4),
            ((RATE,), "stem 1", 2),
        ],
    )
    def test_no_shape_hides_a_quiet_stem(
        self, shape: tuple[int, ...], stems: str, rows: int
    ) -> None:
        """With a batch axis, as PyTorch has it, all stems were one tensor, which passed."""
        e = noise(6, shape)
        quiet = (0,) * (len(shape) - 1)
        e[quiet] *= np.float32(1e-3)
        a = e.copy()
        a[quiet] *= np.float32(1.1)
        names = {4: ("drums", "bass", "other", "vocals")}
        found = findings(e, a, "stems", sources=lambda count: names.get(count, ()))
        assert " ".join(dict.fromkeys(row.stem for row in found)) == stems
        assert len(found) == rows
        assert failing(found)[-1] == "worst second"

    def test_stems_of_complex_numbers_are_none(self) -> None:
        e = noise(6, (4, 2, 50)) + 1j
        (row,) = findings(e, e.copy(), "stems")
        assert row.outcome.verdict is Verdict.FAIL
        assert "expected samples" in row.outcome.reason

    def test_a_nan_fails_its_tensor_and_leaves_the_others_judged(self, tmp_path: Path) -> None:
        e, other = noise(7, (2, RATE)), noise(8, (2, RATE))
        broken = e.copy()
        broken[0, 100] = np.nan
        write(tmp_path / "e", drums=e, bass=other)
        write(tmp_path / "a", drums=broken, bass=other)
        rows = compared(tmp_path / "e", tmp_path / "a")
        assert {row.name for row in rows if row.outcome.verdict is Verdict.FAIL} == {"drums.wav"}
        assert {row.name for row in rows if row.outcome.verdict is Verdict.PASS} >= {"bass.wav"}
        assert "NaN" in rows[4].outcome.reason


class TestFiles:
    def test_channels_beyond_stereo_are_compared(self, tmp_path: Path) -> None:
        e = noise(9, (6, RATE))
        a = e.copy()
        a[2:] = 0
        rows = compared(write(tmp_path / "e", x=e), write(tmp_path / "a", x=a))
        assert failing(rows)[1:5] == ["channel 3", "channel 4", "channel 5", "channel 6"]

    def test_mono_is_stereo_only_on_request(self, tmp_path: Path) -> None:
        mono = noise(10, (1, RATE))
        write(tmp_path / "e", x=mono)
        write(tmp_path / "a", x=mono[[0, 0]])
        (row,) = compared(tmp_path / "e", tmp_path / "a")
        assert "channels: expected 1, got 2; --downmix" in row.outcome.reason
        rows = compared(tmp_path / "e", tmp_path / "a", downmix=True)
        assert failing(rows) == []
        assert rows[0].notes == ("mixed down to mono: 1 against 2 channels",)

    def test_another_rate_is_compared_only_on_request(self, tmp_path: Path) -> None:
        time = np.arange(2 * RATE) / RATE
        tone = (0.1 * np.sin(2 * np.pi * 440 * time) * np.hanning(2 * RATE)).astype(np.float32)
        other = np.interp(np.arange(4 * RATE) / (2 * RATE), time, tone).astype(np.float32)
        write(tmp_path / "e", x=tone[None])
        write(tmp_path / "a", 2 * RATE, x=other[None])
        (row,) = compared(tmp_path / "e", tmp_path / "a")
        assert "sample rate: expected 44100 Hz, got 88200 Hz" in row.outcome.reason
        loose = Gate("loose", "interpolated", min_snr_db=40.0)
        rows = compared(tmp_path / "e", tmp_path / "a", resample=True, gate=loose)
        assert failing(rows) == []
        assert "resampled from 88200 to 44100 Hz" in rows[0].notes[0]

    @pytest.mark.parametrize("rate", [1, 999, 1_000_001])
    def test_a_header_with_an_absurd_rate_is_refused(self, rate: int, tmp_path: Path) -> None:
        """At 1 Hz there would be as many seconds to judge as samples."""
        write(tmp_path, rate, x=noise(11, (1, 5000)))
        with pytest.raises(AudioError, match=f"sample rate is {rate} Hz"):
            read_file(tmp_path / "x.wav")

    @pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
    def test_a_name_that_is_no_utf8_is_opened_and_shown(self, tmp_path: Path) -> None:
        wave = noise(11, (1, 5000))
        write(tmp_path, x=wave)
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
        (tmp_path / "x.wav").rename(odd)
        ((name, item),) = read_side(tmp_path).items()
        assert name == "\\xff.wav"
        assert isinstance(item, Audio)
        np.testing.assert_array_equal(item.read(), wave)

    @pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
    def test_two_files_that_print_alike_do_not_hide_each_other(self, tmp_path: Path) -> None:
        """Only one of them was judged, be it the right one."""
        write(tmp_path, x=noise(11, (1, 5000)), y=noise(12, (1, 5000)))
        (tmp_path / "x.wav").rename(os.fsdecode(os.fsencode(tmp_path) + b"/v\xff.wav"))
        (tmp_path / "y.wav").rename(tmp_path / "v\\xff.wav")
        with pytest.raises(ParityError, match=r"holds two of the name .*xff\.wav"):
            read_side(tmp_path)

    def test_a_shorter_file_fails_and_says_what_the_rest_is(self, tmp_path: Path) -> None:
        e = noise(12, (2, RATE))
        rows = compared(write(tmp_path / "e", x=e), write(tmp_path / "a", x=e[:, :-7]))
        (row,) = rows
        assert row.outcome.verdict is Verdict.FAIL
        assert "lacks the last 7, the rest is right" in row.outcome.reason

    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
    def test_every_encoding_is_read_without_rounding(self, subtype: str, tmp_path: Path) -> None:
        codes = np.random.default_rng(13).integers(-(2**31), 2**31, (2000, 2), dtype=np.int64)
        bits = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 24, "DOUBLE": 32}[subtype]
        exact = (codes >> (32 - bits)) / 2.0 ** (bits - 1)
        soundfile.write(tmp_path / "x.wav", exact, RATE, subtype=subtype)
        item = read_file(tmp_path / "x.wav")["x"]
        assert isinstance(item, Audio)
        np.testing.assert_array_equal(item.read(), exact.T)
        np.testing.assert_array_equal(item.read(100, 107), exact.T[:, 100:107])

    def test_a_long_file_is_mapped_and_is_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wave = noise(14, (2, 300_000))
        item = read_side(write(tmp_path / "e", x=wave))["x.wav"]
        assert isinstance(item, Audio)
        monkeypatch.setattr("harness.comparison.inputs._MOST_IN_MEMORY_BYTES", 1 << 16)
        mapped = item.read()
        assert isinstance(mapped.base, np.memmap)
        np.testing.assert_array_equal(mapped, wave)

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("x.wav", b"", "is empty: it has no bytes"),
            ("x.wav", b"RIFF" + 40 * b"\0", "not an audio file"),
            ("x.npz", b"PK", "can't be read as .npz"),
            ("x.npy", b"\x93NUMPY", "can't be read as .npy"),
            ("x.safetensors", b"\xff" * 9, "no safetensors file"),
            ("x.txt", b"1", "unknown suffix"),
        ],
    )
    def test_a_file_that_is_none_is_refused(
        self, name: str, content: bytes, words: str, tmp_path: Path
    ) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ParityError, match=words):
            load_all(read_file(tmp_path / name))


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors", ".wav", ".flac"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_one_error_of_ours(
    suffix: str, data: st.DataObject, tmp_path: Path
) -> None:
    """Downloads break off, and disks flip bits: that is bad input, and never a traceback."""
    path = tmp_path / f"x{suffix}"
    wave = noise(15, (300, 2))
    if suffix == ".npz":
        np.savez_compressed(path, x=wave)
    elif suffix == ".npy":
        np.save(path, wave)
    elif suffix == ".safetensors":
        save_file({"x": wave}, path)
    else:
        soundfile.write(path, wave, RATE)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, min(len(content) - 1, 400)))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([len(content), place, place + 1]))])
    message = ""
    try:
        for item in read_file(path).values():
            if isinstance(item, Audio):
                item.read()
            else:
                item.load()
    except ParityError as error:
        message = str(error)
    assert len(message) < 500 + len(str(path))


def test_an_archive_by_the_wrong_name_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", noise(16, (3,)))
    np.savez(tmp_path / "y.npz", x=noise(16, (3,)))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    (tmp_path / "y.npz").rename(tmp_path / "y.npy")
    for name, words in (("x.npz", "read as .npz"), ("y.npy", "read as .npy")):
        with pytest.raises(ParityError, match=words):
            load_all(read_file(tmp_path / name))
