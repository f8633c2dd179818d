"""``parity compare`` as a user calls it: what it says, and how it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile

from harness.cli import main
from harness.verdicts import Run
from suites.selftest.comparison.sides import RATE, noise

Stems = dict[str, np.ndarray]


def folder(path: Path, stems: Stems) -> str:
    path.mkdir(exist_ok=True)
    for name, wave in stems.items():
        soundfile.write(path / f"{name}.wav", wave, RATE, subtype="FLOAT")
    return str(path)


def npz(path: Path, **tensors: np.ndarray) -> str:
    np.savez(path, **tensors)  # type: ignore[arg-type]
    return str(path)


def late(wave: np.ndarray, samples: int) -> np.ndarray:
    moved = np.zeros_like(wave)
    moved[samples:] = wave[:-samples]
    return moved


class TestTheCauseIsPrinted:
    """The usual mistakes of a port, each in all stems of a folder."""

    STEMS: ClassVar[Stems] = {
        "drums": noise(1, (RATE, 2)),
        "bass": np.cumsum(noise(2, (RATE, 2), 0.005), axis=0).astype(np.float32),
        "vocals": noise(3, (RATE, 2), 0.02),
    }

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            (lambda s: s | {"bass": s["drums"], "drums": s["bass"]}, "another stem stands here"),
            (lambda s: {n: late(w, 1) for n, w in s.items()}, "late by 1 sample"),
            (lambda s: {n: late(w[::-1], 1)[::-1] for n, w in s.items()}, "early by 1 sample"),
            (lambda s: {n: w * np.float32(1.0116) for n, w in s.items()}, "0.1 dB too loud"),
            (lambda s: {n: -w for n, w in s.items()}, "the polarity is inverted"),
            (lambda s: {n: w[:, ::-1] for n, w in s.items()}, "left and right are exchanged"),
            (lambda s: {n: np.clip(w, -0.05, 0.05) for n, w in s.items()}, "clipped at 0.05"),
            (lambda s: s | {"bass": 0 * s["bass"]}, "silent: the signal is lost"),
        ],
    )
    def test_in_words(
        self,
        wrong: Callable[[Stems], Stems],
        words: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        expected = folder(tmp_path / "e", self.STEMS)
        actual = folder(tmp_path / "a", wrong(self.STEMS))
        assert main(["compare", expected, actual, "--min-snr", "60"]) == 1
        assert words in capsys.readouterr().out

    def test_nothing_is_guessed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        hiss = {n: w + noise(9, w.shape, 0.01) for n, w in self.STEMS.items()}
        sides = folder(tmp_path / "e", self.STEMS), folder(tmp_path / "a", hiss)
        assert main(["compare", *sides]) == 1
        shown = capsys.readouterr().out
        assert shown.count("no single cause explains it") == 3
        assert "cause:" not in shown


class TestEveryChannelAndSecond:
    """A whole stem's SNR forgives what one can hear."""

    @pytest.mark.parametrize(
        ("wrong", "code", "words"),
        [
            (lambda w: w, 0, "PASS: all 4"),
            (lambda w: w * [1, 0], 1, "right, from 0.00 to 3.00 s: silent: the signal is lost"),
            (
                lambda w: np.concatenate([w[: 3 * RATE], 0.97 * w[3 * RATE :]]),
                1,
                "from 3.00 to 4.00 s: 0.265 dB too soft",
            ),
        ],
    )
    def test_is_judged(
        self,
        wrong: Callable[[np.ndarray], np.ndarray],
        code: int,
        words: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        level = np.where(np.arange(4 * RATE) < 3 * RATE, 0.2, 0.004)[:, None]
        wave = (noise(4, (4 * RATE, 2), 1.0) * level * [1, 9e-4]).astype(np.float32)
        sides = folder(tmp_path / "e", {"x": wave}), folder(tmp_path / "a", {"x": wrong(wave)})
        assert main(["compare", *sides, "--min-snr", "60"]) == code
        assert words in capsys.readouterr().out


class TestNothingIsConvertedInSilence:
    @pytest.mark.parametrize(
        ("one", "other", "rate", "words"),
        [
            ((RATE, 1), (RATE, 2), RATE, "--downmix"),
            ((RATE, 2), (RATE, 2), 48_000, "--resample"),
            ((RATE, 6), (RATE, 2), RATE, "channels: expected 6, got 2"),
        ],
    )
    def test_it_fails(
        self,
        one: tuple[int, int],
        other: tuple[int, int],
        rate: int,
        words: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        soundfile.write(tmp_path / "e.wav", noise(5, one), RATE)
        soundfile.write(tmp_path / "a.wav", noise(5, other), rate)
        assert main(["compare", str(tmp_path / "e.wav"), str(tmp_path / "a.wav")]) == 1
        assert words in capsys.readouterr().out

    def test_both_conversions_on_request(self, tmp_path: Path) -> None:
        time = np.arange(RATE) / RATE
        tone = np.sin(2 * np.pi * 300 * time) * np.hanning(RATE) * 0.1
        slow = np.sin(2 * np.pi * 300 * time[::2]) * np.hanning(RATE)[::2] * 0.1
        soundfile.write(tmp_path / "e.wav", tone, RATE, subtype="FLOAT")
        soundfile.write(tmp_path / "a.wav", np.stack([slow, slow], 1), RATE // 2, subtype="FLOAT")
        files = [str(tmp_path / "e.wav"), str(tmp_path / "a.wav")]
        assert main(["compare", *files, "--resample"]) == 1
        assert main(["compare", *files, "--resample", "--downmix"]) == 0


class TestNothingInAFolderIsOverlooked:
    """What is not read is not judged: the stem that nobody looked at was green."""

    @pytest.fixture
    def sides(self, tmp_path: Path) -> tuple[str, str]:
        stems = {"bass": noise(20, (RATE, 2)), "drums": noise(21, (RATE, 2))}
        return folder(tmp_path / "e", stems), folder(tmp_path / "a", stems)

    @staticmethod
    def put(place: Path, what: str) -> None:
        (place.parent / "kept").mkdir(exist_ok=True)
        if what == "link to a folder":
            (place / "more").symlink_to(place.parent / "kept")
        elif what == "link to nothing":
            (place / "vocals.wav").symlink_to(place / "gone.wav")
        else:
            (place / what).write_bytes(b"\0")

    @pytest.mark.parametrize("side", [0, 1])
    @pytest.mark.parametrize(
        ("what", "name", "words"),
        [
            ("vocals.m4a", "vocals.m4a", "'.m4a'; known are .safetensors, .npz, .npy, .wav"),
            ("vocals", "vocals", "has the unknown suffix ''"),
            ("link to a folder", "more", "is a link to a folder, which is not followed"),
            ("link to nothing", "vocals.wav", "is a link to nothing"),
        ],
    )
    def test_what_is_not_read_is_refused_by_name(
        self,
        what: str,
        name: str,
        words: str,
        side: int,
        sides: tuple[str, str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.put(Path(sides[side]), what)
        assert main(["compare", *sides]) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert words in told
        assert str(Path(sides[side], name)) in told.replace(" ", "")

    def test_an_archive_of_nothing_is_refused(
        self, sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        npz(Path(sides[0], "vocals.npz"))
        assert main(["compare", *sides]) == 2
        assert "vocals.npz holds no tensors" in " ".join(capsys.readouterr().err.split())

    @pytest.mark.parametrize("name", ["song.mid", "broken.wav", "broken.npz"])
    def test_the_user_may_leave_it_out(
        self, name: str, sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.put(Path(sides[0]), name)
        assert main(["compare", *sides]) == 2
        assert name in capsys.readouterr().err.replace("\n", "")
        assert main(["compare", *sides, "--ignore", name]) == 0
        assert f"ignored: 1 ({name})" in capsys.readouterr().out
        assert main(["compare", *sides, "--only", "bass*"]) == 0

    @pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may read all")
    def test_a_folder_that_nobody_may_list_is_refused(
        self, sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path(sides[0], "more").mkdir(mode=0)
        assert main(["compare", *sides]) == 2
        assert "is a folder that can't be listed" in " ".join(capsys.readouterr().err.split())

    @pytest.mark.parametrize("name", ["notes.TXT", "run.json", ".DS_Store", ".git/config"])
    def test_companions_and_hidden_files_are_no_stems(
        self, name: str, sides: tuple[str, str]
    ) -> None:
        Path(sides[0], name).parent.mkdir(exist_ok=True)
        self.put(Path(sides[0]), name)
        assert main(["compare", *sides]) == 0


class TestTheGateOfTheKind:
    def test_a_spectrogram_is_held_to_the_gate_of_the_stft(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A symmetric Hann window passes the conversion's gate on soft music."""
        wave = noise(6, (2, 40 * 1024), 0.03).astype(np.float64)

        def port(window: np.ndarray) -> np.ndarray:
            frames = np.lib.stride_tricks.sliding_window_view(wave, 4096, axis=1)[:, ::1024]
            bins = np.fft.rfft(window * frames)[..., :-1].swapaxes(1, 2) / 64
            parts = np.stack([bins.real, bins.imag], 1)
            return parts.reshape(1, 4, 2048, -1).astype(np.float32)

        golden = npz(tmp_path / "g.npz", spectrogram=port(np.hanning(4097)[:-1]), freq=wave)
        mine = npz(tmp_path / "m.npz", spectrogram=port(np.hanning(4096)), freq=wave)
        assert main(["compare", golden, golden]) == 0
        assert main(["compare", golden, mine]) == 1
        assert "the Hann window is symmetric" in capsys.readouterr().out
        assert main(["compare", golden, mine, "--gate", "conversion"]) == 0
        assert main(["compare", golden, mine, "--min-snr", "60"]) == 0

    def test_the_only_tensor_of_a_file_in_a_folder_is_what_its_name_says(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """It was called as its file is, and a quiet stem passed with the others."""
        stems = noise(7, (2, 2, RATE))
        stems[0] *= np.float32(1e-3)
        for side, gain in (("e", 1.0), ("a", 1.1)):
            (tmp_path / side).mkdir()
            made = stems * np.array([gain, 1], np.float32)[:, None, None]
            npz(tmp_path / side / "song.npz", stems=made)
        assert main(["compare", str(tmp_path / "e"), str(tmp_path / "a"), "--json"]) == 1
        row = json.loads(capsys.readouterr().out)["checks"][0]
        assert (row["tensor"], row["gate"]["name"]) == ("song.npz:stems", "end_to_end")

    def test_every_row_names_its_gate(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tensors = {
            "audio": noise(7, (1, 2, 5000)),
            "spectrogram": noise(7, (1, 4, 16, 5)),
            "tap.encoder.0": noise(7, (3, 4)),
            "stems": noise(7, (1, 2, 5000)),
        }
        golden = npz(tmp_path / "g.npz", **tensors)
        assert main(["compare", golden, golden, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        gates = {row["tensor"]: row["gate"]["name"] for row in document["checks"]}
        assert gates == {
            "audio": "ops_exact",
            "spectrogram": "stft",
            "tap.encoder.0": "conversion",
            "stems": "end_to_end",
        }


def test_fp16_is_held_against_fp32_by_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y = noise(8, (1, 300))
    sides = npz(tmp_path / "e.npz", y=y), npz(tmp_path / "a.npz", y=y.astype(np.float16))
    assert main(["compare", *sides, "--min-snr", "60"]) == 0
    assert "types differ, held by value: float32 against float16" in capsys.readouterr().out


class TestHundredsOfTensors:
    """Each had a line or two of its own, and the sentence that explains them all was out of sight:
    a converter that renames is wrong in every name."""

    NAMES: ClassVar[list[str]] = [f"block.{index:03}" for index in range(300)]

    def compared(
        self,
        expected: Stems,
        actual: Stems,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> list[str]:
        sides = npz(tmp_path / "e.npz", **expected), npz(tmp_path / "a.npz", **actual)
        assert main(["compare", *sides, "--json"]) == 1
        self.document = json.loads(capsys.readouterr().out)
        assert main(["compare", *sides]) == 1
        return capsys.readouterr().out.splitlines()

    def test_that_one_side_lacks(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        both = {"x": noise(40, (4,))}
        mine = both | dict.fromkeys(self.NAMES, noise(41, (4,)))
        yours = both | {name.replace("block", "layer"): mine[name] for name in self.NAMES}
        shown = self.compared(mine, yours, tmp_path, capsys)
        assert len(shown) < 15
        for name, side in (("block", "candidate"), ("layer", "reference")):
            (line,) = (line for line in shown if f"the {side} has no such tensor" in line)
            assert line.startswith(f"fail: {name}.000, {name}.001, ")
            assert f"{name}.019 and 280 more: " in line
        assert shown[-1] == "FAIL: 600 of 601 gating checks failed."
        assert {row["tensor"] for row in self.document["checks"]} == {*mine, *yours}

    def test_that_are_wrong_or_of_another_type(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        right = dict.fromkeys(self.NAMES, noise(42, (4,)))
        wrong = {name: (2 * tensor).astype(np.float16) for name, tensor in right.items()}
        shown = self.compared(right, wrong, tmp_path, capsys)
        assert sum(line.startswith("fail: ") for line in shown) == 20
        assert "and 280 more that fail: --json and --report have them" in shown
        (note,) = (line for line in shown if line.startswith("note: "))
        assert "block.019 and 280 more: types differ" in note
        assert len(self.document["checks"]) == 300


class TestNumbersWhoseSquaresOverflow:
    """They are wrong as any others are: a verdict, and no traceback from the search for a cause."""

    @pytest.mark.parametrize("scale", [1e60, 1e160, 1e300])
    @pytest.mark.parametrize(
        ("name", "shape"), [("x", (2,)), ("freq", (1, 4, 4, 8, 8)), ("stems", (2, 2, RATE))]
    )
    def test_in_tensors(
        self, name: str, shape: tuple[int, ...], scale: float, tmp_path: Path
    ) -> None:
        e = noise(13, shape).astype(np.float64) * scale
        sides = npz(tmp_path / "e.npz", **{name: e}), npz(tmp_path / "a.npz", **{name: 1.5 * e})
        assert main(["compare", *sides]) == 1
        assert main(["compare", sides[0], sides[0]]) == 0

    @pytest.mark.parametrize("scale", [1e60, 1e250])
    def test_in_files_of_other_names(self, scale: float, tmp_path: Path) -> None:
        for side, names, gain in (("e", "xy", 1.0), ("a", "pq", 1.01)):
            (tmp_path / side).mkdir()
            for seed, name in enumerate(names):
                wave = noise(seed, (RATE, 2)).astype(np.float64) * scale * gain
                soundfile.write(tmp_path / side / f"{name}.wav", wave, RATE, subtype="DOUBLE")
        assert main(["compare", str(tmp_path / "e"), str(tmp_path / "a")]) == 1


class TestOnlyAndIgnore:
    @pytest.fixture
    def sides(self, tmp_path: Path) -> tuple[str, str]:
        right = {"tap.a": noise(9, (4,)), "tap.b": noise(10, (4,)), "freq[0]": noise(11, (4,))}
        wrong = right | {"tap.b": right["tap.b"] * 2}
        return npz(tmp_path / "e.npz", **right), npz(tmp_path / "a.npz", **wrong)

    @pytest.mark.parametrize(
        ("options", "code", "ignored"),
        [
            ([], 1, []),
            (["--ignore", "tap.b"], 0, ["tap.b"]),
            (["--only", "tap.a"], 0, ["freq[0]", "tap.b"]),
            (["--only", "tap.*"], 1, ["freq[0]"]),
            (["--only", "tap.*", "--ignore", "*b"], 0, ["freq[0]", "tap.b"]),
        ],
    )
    def test_what_is_left_out_is_listed(
        self,
        options: list[str],
        code: int,
        ignored: list[str],
        sides: tuple[str, str],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert main(["compare", *sides, *options, "--json"]) == code
        assert json.loads(capsys.readouterr().out)["ignored"] == ignored
        assert main(["compare", *sides, *options]) == code
        assert (f"ignored: {len(ignored)}" in capsys.readouterr().out) == bool(ignored)

    @pytest.mark.parametrize(
        "options",
        [["--only", "tpa.b"], ["--only", "tap.a", "--only", "tpa.b"]],
    )
    def test_a_misspelt_glob_is_refused(
        self, options: list[str], sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Beside one that fits, it was dropped, and what it meant was never compared."""
        assert main(["compare", *sides, *options, "--json"]) == 2
        told = json.loads(capsys.readouterr().out)["error"]
        assert "unknown name 'tpa.b'; did you mean 'tap.b'?" in told

    @pytest.mark.parametrize("options", [["--only", "tap.a", "--ignore", "*.a"], ["--ignore", "*"]])
    def test_nothing_left_is_not_evaluated(
        self, options: list[str], sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare", *sides, *options, "--json"]) == 3
        assert "nothing is left to compare" in json.loads(capsys.readouterr().out)["error"]

    def test_names_with_brackets_are_printed_as_they_are(
        self, sides: tuple[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare", *sides, "--only", "freq*"]) == 0
        assert "freq[0]" in capsys.readouterr().out


def test_the_report_is_a_run_with_every_check_and_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = noise(12, (RATE, 2))
    sides = folder(tmp_path / "e", {"x": wave, "y": wave[::-1]}), tmp_path / "a"
    arguments = [sides[0], folder(sides[1], {"x": -wave, "y": wave[::-1]})]
    options = ["--report", str(tmp_path / "out"), "--json"]
    assert main(["compare", *arguments, *options]) == 1
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    run = Run.from_json((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert run.exit_code == 1
    assert len(run.checks) == len(document["checks"]) == 8
    assert "the polarity is inverted" in run.checks[0].outcome.reason
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "the polarity is inverted" in page
    assert document["checks"][0]["cause"] == {
        "name": "polarity",
        "words": "the polarity is inverted",
        "snr_db": "inf",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gate", "stft", "--min-snr", "3"], "not both"),
        (["--gate", "nope"], "unknown gate"),
        (["--gate", "audit"], "bounds a number"),
        (["--atol", "1"], "rtol and atol"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = npz(tmp_path / "e.npz", x=np.ones(3))
    assert main(["compare", file, file, *options]) == 2
    shown = capsys.readouterr().err
    assert words in shown
    assert len(shown) < 500


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--help"]) == 0
    assert "parity compare stems_pytorch/ stems_swift/" in " ".join(capsys.readouterr().out.split())


def test_what_was_narrowed_or_asked_for_stands_in_every_verdict(tmp_path: Path) -> None:
    """A run.json that a pull request shows would else say more than was looked at."""
    stems = {"drums": noise(1, (RATE, 2)), "bass": noise(2, (RATE, 2))}
    words = [folder(tmp_path / "a", stems), folder(tmp_path / "b", stems)]
    words += ["--only", "bass.wav", "--min-snr", "3", "--report", str(tmp_path / "page")]
    assert main(["compare", *words]) == 0
    said = "hold (narrowed to only bass.wav, gates given on the command line)"
    assert said in Run.from_json((tmp_path / "page" / "run.json").read_text("utf-8")).sentence()
    for name in ("index.html", "summary.md"):
        assert said in (tmp_path / "page" / name).read_text("utf-8"), name
