"""How close sensitivities by adjoints are to one run for each operation, and what both cost.

The network is ``mini``, trained, on half a second instead of 7.8; the error is that of all stems
together, as a mean over a few pieces of music. Costs are counted in forward passes of the same
program, measured in the same process; run with ``nox -s bench``. The ranking has to agree, half of
the shares have to be within half a decibel, and the cost within 40 forward passes; how far off they
are is printed beside the uncertainty that the lab itself reports for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from demucs.htdemucs import HTDemucs
from scipy.stats import spearmanr

from harness import mil
from harness.allocation import keep_memory
from harness.audio import SAMPLE_RATE
from harness.audio.stft import spectrogram_from_waveform
from harness.conversion import convert_to_coreml, load_recipe, trace_inner_model
from harness.precision.sensitivity import (
    Probing,
    Sensitivity,
    Stems,
    measure_sensitivity,
    measures_of,
)
from harness.precision.virtual import VirtualPrecision
from harness.subjects import extract_inner_model, load_subject
from harness.subjects.htdemucs import stem_waveform
from harness.subjects.names import ARCHITECTURES
from harness.subjects.songs import make_song

LENGTH = SAMPLE_RATE // 2
SEEDS = (1, 2, 5, 7)
PROBES = 12
PROBE_SEEDS = (0, 1)
SAMPLE = 150
"""Operations that brute force is run for; its whole cost is extrapolated from them."""

Inputs = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> VirtualPrecision:
    keep_memory()  # as `parity sensitivity` does
    mini = ARCHITECTURES["mini"]
    model = HTDemucs(list(mini.sources), **{**mini.arguments, "segment": Fraction(1, 2)})
    model.load_state_dict(load_subject("mini").model.state_dict())
    out = tmp_path_factory.mktemp("lab") / "fp32.mlpackage"
    traced = trace_inner_model(extract_inner_model(model.eval()))
    convert_to_coreml(traced, recipe=load_recipe("fp32"), out=out, subject="mini, half a second")
    return VirtualPrecision(mil.load(out))


def piece(seed: int) -> Inputs:
    song = make_song(seed, 4.0).mixture[:, 2 * SAMPLE_RATE : 2 * SAMPLE_RATE + LENGTH]
    audio = torch.from_numpy(np.ascontiguousarray(song))[None].float()
    return {"spectrogram": spectrogram_from_waveform(audio), "audio": audio}


def seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compared(found: Sensitivity, truth: dict[str, float]) -> tuple[float, float]:
    """Print how far shares are from ``truth``; return their rank correlation and median error."""
    rows = [
        (s.mean["stems"], truth[s.operation], s.deviation_db["stems"])
        for s in found.operations
        if truth.get(s.operation, 0.0) > 0
    ]
    shares, single, deviations = np.array(rows).T
    errors = np.abs(10 * np.log10(shares / single))
    rank, median = float(spearmanr(shares, single)[0]), float(np.median(errors))
    print(
        f"{len(rows)} compared: Spearman {rank:.4f}, error median {median:.2f} dB, "
        f"90th percentile {np.percentile(errors, 90):.2f} dB, "
        f"{100 * np.mean(errors < 1.96 * deviations):.0f} % within the interval of 95 % that is "
        "reported"
    )
    return rank, median


def test_sensitivity_beside_one_run_for_each_operation(lab: VirtualPrecision) -> None:
    stems = Stems(ARCHITECTURES["mini"].sources, stem_waveform, SAMPLE_RATE)
    measure = measures_of(stems, ())[0]
    cases = {f"song {seed}": piece(seed) for seed in SEEDS}
    lab.base.run(cases["song 1"])
    forward = np.median([seconds(lambda: lab.base.run(cases["song 1"])) for _ in range(9)])
    found: list[Sensitivity] = []

    def probe(seed: int) -> None:
        found.append(
            measure_sensitivity(
                lab, cases, [measure], probing=Probing(PROBES, seed, at_once=PROBES)
            )
        )

    probing = float(np.mean([seconds(partial(probe, seed)) for seed in PROBE_SEEDS]))
    moving = {"reshape", "transpose", "split", "slice_by_index", "expand_dims", "squeeze", "pad"}
    computing = [s.operation for s in found[0].operations if s.type not in moving]
    chosen = np.random.default_rng(0).choice(computing, SAMPLE, replace=False)
    wide = {operation.name: "fp32" for operation in lab.operations}
    references = {case: lab.base.run(inputs) for case, inputs in cases.items()}
    truth: dict[str, float] = {}

    def brute_force() -> None:
        for name in chosen:
            model = lab.model({**wide, name: "fp16"})
            errors = [
                measure.of(references[case], model.run(inputs)) for case, inputs in cases.items()
            ]
            truth[name] = float(np.mean(errors))

    each = seconds(brute_force) / SAMPLE * len(computing)
    print(f"\n{len(computing)} operations, {len(cases)} cases, {PROBES} probes")
    passes = {
        name: cost / forward / len(cases)
        for name, cost in (("adjoints", probing), ("one run for each", each))
    }
    for name, cost in passes.items():
        print(f"{name:<18} {cost:7.0f} forward passes a case  x{cost / passes['adjoints']:.0f}")
    assert passes["adjoints"] <= 40
    for sensitivity in found:
        rank, median = compared(sensitivity, truth)
        assert rank >= 0.98
        assert median < 0.5


def test_a_virtual_run_beside_a_run(lab: VirtualPrecision) -> None:
    inputs = piece(1)
    choice = lab.by_recipe(load_recipe("mixed"))
    model = lab.model(choice)
    runs: dict[str, Callable[[], object]] = {
        "FP32": lambda: lab.base.run(inputs),
        "virtual mixed": lambda: model.run(inputs),
        "making it": lambda: lab.model(choice),
    }
    costs: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(9):
        for name, run in runs.items():
            costs[name].append(seconds(run))
    middle = {name: float(np.median(found)) for name, found in costs.items()}
    for name, cost in middle.items():
        print(f"{name:<14} {1e3 * cost:7.1f} ms  x{cost / middle['FP32']:.2f}")
    assert all(cost > 0 for cost in middle.values())
