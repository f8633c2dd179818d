"""Where the precision lab gets its models and inputs from.

A lab needs a subject's FP32 package and a few input signals. It needs no goldens: what it compares
with is the FP32 program itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from harness import mil
from harness.audio import spectrogram_from_waveform
from harness.audio.contract import SEGMENT_LENGTH
from harness.conversion import convert_to_coreml, load_recipe, trace_inner_model
from harness.errors import ParityError, UnknownNameError
from harness.golden import Case, load_cases
from harness.golden.builder import make_audio
from harness.precision import VirtualPrecision
from harness.subjects import extract_inner_model, load_subject
from harness.workbench.separator import subject_sources

SONG_PREFIX = "song:"


@contextmanager
def open_lab(subject: str, package: Path | None = None) -> Iterator[VirtualPrecision]:
    """Yield the lab of a subject: of its FP32 package, which is converted if none is given.

    Args:
        subject: a single model.
        package: its FP32 package, as ``parity convert`` makes it.

    Raises:
        PackageError: the package is not all FP32.
        ParityError: the subject is a bag, or can't be converted.
    """
    if package is not None:
        yield VirtualPrecision(mil.load(package))
        return
    loaded = load_subject(subject)
    traced = trace_inner_model(extract_inner_model(loaded.model))
    with tempfile.TemporaryDirectory(prefix="parity-lab-") as folder:
        out = Path(folder) / "fp32.mlpackage"
        convert_to_coreml(
            traced,
            recipe=load_recipe("fp32"),
            out=out,
            subject=loaded.name,
            fingerprint=loaded.fingerprint,
        )
        yield VirtualPrecision(mil.load(out))


def lab_inputs(
    subject: str, names: Sequence[str], golden_root: Path, device: str = "cpu"
) -> dict[str, dict[str, torch.Tensor]]:
    """Return the network's inputs for each case.

    Args:
        subject: whose stems songs are mixed of.
        names: golden cases of one segment, or ``song:SEED`` for any other song.
        golden_root: the folder with ``recipes.toml``.
        device: where the tensors go.

    Raises:
        UnknownNameError: no such case.
        ParityError: a case is an audio file of several segments.
    """
    cases = load_cases(golden_root / "recipes.toml")
    sources = subject_sources(subject)
    inputs = {}
    for name in names:
        audio, _ = make_audio(_case(name, cases), sources)
        tensor = torch.from_numpy(np.ascontiguousarray(audio)).to(device)
        inputs[name] = {"spectrogram": spectrogram_from_waveform(tensor), "audio": tensor}
    return inputs


def _case(name: str, cases: dict[str, Case]) -> Case:
    if name.startswith(SONG_PREFIX) and name.removeprefix(SONG_PREFIX).isdecimal():
        seed = int(name.removeprefix(SONG_PREFIX))
        parameters = MappingProxyType({"seed": seed})
        return Case(name, "song", parameters, "a song of the lab", SEGMENT_LENGTH)
    if name not in cases:
        raise UnknownNameError("case", name, [*cases, f"{SONG_PREFIX}7"])
    if cases[name].is_file:
        raise ParityError(f"case {name!r} is an audio file of several segments; the lab takes one")
    return cases[name]
