"""How long ``parity separate`` takes beside Demucs' own ``apply_model``, and how much memory.

Every number is the cost of a whole process, so the two sides pay for the same things: start,
weights, reading, separating, writing. ``overlap`` is chosen so that both work on the same segments.
What counts are the ratios; run with ``nox -s bench``.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.audio import SAMPLE_RATE
from harness.audio.writers import StemWriter
from harness.subjects.songs import make_song
from suites.bench.conftest import Measured

SUBJECT = "htdemucs_6s@seeded"
MINUTE = 60.0

APPLY_MODEL = """
import sys, torch, soundfile
from demucs.apply import apply_model
from harness.audio import SEGMENT_LENGTH, SEGMENT_OVERLAP
from harness.audio.files import read_audio
from harness.subjects import load_subject
source, target = sys.argv[1:]
subject = load_subject("htdemucs_6s@seeded")
mixture = torch.from_numpy(read_audio(source))[None]
overlap = SEGMENT_OVERLAP / SEGMENT_LENGTH
with torch.no_grad():
    stems = apply_model(subject.model, mixture, shifts=0, overlap=overlap)[0]
for name, stem in zip(subject.sources, stems):
    soundfile.write(f"{target}/{name}.wav", stem.T.numpy(), 44100, subtype="FLOAT")
"""


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    seconds: float
    peak_mb: float


def measure(*command: str) -> Cost:
    """Run a command to its end in a process of its own."""
    probe = "import os, resource, subprocess, sys\n"
    probe += "code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
    probe += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nsys.exit(code)"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", probe, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    unit = 1e3 if sys.platform == "darwin" else 1.0
    return Cost(time.perf_counter() - started, float(done.stdout.split()[-1]) / 1e3 / unit)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Stereo files of one and three minutes: a synthesised song, repeated."""
    folder = tmp_path_factory.mktemp("bench")
    song = make_song(3, 30.0).mixture
    paths = {}
    for minutes in (1.0, 3.0):
        name = f"{minutes:.0f}min"
        with StemWriter(folder, [name], encoding="float32") as writer:
            for _ in range(int(minutes * MINUTE / 30.0)):
                writer.write(song[np.newaxis])
        paths[minutes] = writer.paths[name]
    return paths


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("package") / "fp32.mlpackage"
    measure(sys.executable, "-m", "harness", "convert", SUBJECT, "--out", str(out))
    return out


def separate(file: Path, out: Path, *options: str) -> Cost:
    command = [sys.executable, "-m", "harness", "separate", str(file), "--subject", SUBJECT]
    return measure(*command, "--out", str(out), *options)


def test_separating_three_minutes_beside_apply_model(
    files: dict[float, Path], package: Path, tmp_path: Path, measured: Measured
) -> None:
    (tmp_path / "demucs").mkdir()
    demucs = measure(sys.executable, "-c", APPLY_MODEL, str(files[3.0]), str(tmp_path / "demucs"))
    torch = separate(files[3.0], tmp_path / "torch")
    mil = separate(files[3.0], tmp_path / "mil", "--package", str(package))
    minute = separate(files[1.0], tmp_path / "minute", "--package", str(package))
    print(f"\n3 minutes of {SAMPLE_RATE} Hz stereo, whole processes")
    for name, cost in (
        ("demucs.apply_model", demucs),
        ("parity separate", torch),
        ("parity separate --package (FP32)", mil),
        ("the same, 1 minute", minute),
    ):
        ratio = cost.seconds / demucs.seconds
        measured(f"separating 3 minutes: {name} beside demucs.apply_model", ratio, "")
        print(f"{name:<34} {cost.seconds:7.1f} s  x{ratio:.2f}  peak {cost.peak_mb:6.0f} MB")
    assert {path.name for path in (tmp_path / "mil").iterdir()} == {
        path.name for path in (tmp_path / "demucs").iterdir()
    }
