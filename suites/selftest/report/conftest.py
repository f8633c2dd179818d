"""A run that looks like a real one: five layers, several hundred checks, every artefact filled."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from harness.verdicts import (
    GATES,
    Check,
    EngineState,
    Gate,
    GoldenState,
    Outcome,
    Profile,
    Run,
    Verdict,
    not_evaluated,
)
from suites.selftest.report.run_rows import (
    CASES,
    OPS,
    RECIPES,
    STEMS,
    SUBJECT,
    TAPS,
    run_rows,
)


def compared(gate: Gate, snr_db: float, ratio: float = 0.01, *, silent: bool = False) -> Outcome:
    """Return the outcome that `harness.verdicts.compare` would give for these numbers."""
    exact = snr_db == math.inf
    ratio = 0.0 if exact else ratio
    headrooms = [] if gate.rtol is None else [-20 * math.log10(ratio) if ratio else math.inf]
    broken = []
    level = -math.inf if exact else -snr_db - 60.0
    if silent:
        headrooms.append(-100.0 - level)
    elif gate.min_snr_db is not None:
        headrooms.append(snr_db - gate.min_snr_db)
        if not snr_db > gate.min_snr_db:
            broken.append(f"SNR {snr_db:.2f} dB, not above {gate.min_snr_db:g} dB")
    if gate.rtol is not None and ratio > 1:
        broken.append(
            "mismatched elements: 18236 / 2752512 (0.663 %); greatest absolute difference 0.00212 "
            f"at index (0, 3, 1, 812, 77) (up to {gate.atol:g} allowed); greatest relative "
            f"difference 14.2 at index (0, 5, 0, 3, 9) (up to {gate.rtol:g} allowed); would pass "
            f"with {ratio:.3g} times these tolerances"
        )
    error = 0.0 if exact else 10 ** (-snr_db / 20)
    observed = f"{snr_db:.2f} dB, max difference {error:.3g}"
    if exact:
        observed = "exact"
    elif silent:
        observed = f"error {level:.1f} dBFS"
    return Outcome(
        verdict=Verdict.FAIL if broken else Verdict.PASS,
        reason="; ".join(broken) or ("identical" if exact else "within the gate"),
        expected="silence: error at most -100 dBFS" if silent else gate.describe(),
        observed=observed,
        headroom_db=min(headrooms, default=None),
        tolerance_ratio=None if gate.rtol is None else ratio,
        metrics={
            "snr_db": snr_db,
            "max_abs_error": error,
            "error_rms_dbfs": level,
            "silent": silent,
        },
    )


def check(layer: str, gate: str, outcome: Outcome, gating: bool = True, **labels: str) -> Check:
    """Return a check of `SUBJECT` under a gate of the table; an empty label is left out."""
    labels = {name: text for name, text in {"subject": SUBJECT, **labels}.items() if text}
    command = f"parity check out/{labels.get('recipe', 'fp32')}.mlpackage --subject {SUBJECT}"
    if "case" in labels:
        command += f" --case {labels['case']}"
    return Check(layer, labels, gating, GATES[gate], outcome, 0.031, command)


def _ops(noise: random.Random) -> Iterator[Check]:
    for op in OPS:
        for precision in ("fp32", "fp16"):
            gate = f"ops_{precision}"
            snr = math.inf if op in ("reshape", "split") else 70 + 75 * (precision == "fp32")
            ratio = 0.05 + 0.5 * noise.random()
            yield check(
                "ops",
                gate,
                compared(GATES[gate], snr, ratio),
                subject="",
                engine="mil",
                numerics="storage",
                tensor=op,
                what=f"{op}, {precision}",
            )


def _stft_and_surgery(noise: random.Random) -> Iterator[Check]:
    for case in CASES:
        for what in ("stft", "istft", "round trip"):
            outcome = compared(GATES["stft"], 138 + noise.random(), 0.02 + 0.1 * noise.random())
            yield check("stft", "stft", outcome, case=case, what=what, subject="")
        for tap in (*TAPS, "freq", "time"):
            exact = compared(GATES["surgery"], math.inf)
            yield check("surgery", "surgery", exact, case=case, engine="torch", tensor=tap)


def _conversion(noise: random.Random) -> Iterator[Check]:
    level = {"fp32": 131.0, "fp16": 63.0, "mixed": 63.2}
    for recipe, gating in RECIPES.items():
        for gate_name, unit in (("contract", "differences"), ("audit", "operations")):
            kept = Outcome(Verdict.PASS, "", "", f"0 {unit}", math.inf, None, {"value": 0.0})
            yield check("conversion", gate_name, kept, recipe=recipe, what=gate_name)
        for case in CASES:
            common = {"case": case, "recipe": recipe, "engine": "mil", "numerics": "storage"}
            for tensor in ("freq", "time"):
                snr = level[recipe] + 4 * noise.random() - (6 if tensor == "time" else 0)
                ratio = 0.004 if gating else 0.4 + 9 * noise.random()
                outcome = compared(GATES["conversion"], snr, ratio, silent=case == "silence")
                yield check("conversion", "conversion", outcome, gating, tensor=tensor, **common)
            if gating and case in ("song", "noise"):
                for tap in TAPS:
                    gate = GATES["expected_precision_fp32"]
                    outcome = compared(gate, 121 + 20 * noise.random())
                    yield check("conversion", gate.name, outcome, tensor=tap, **common)


def _end_to_end(noise: random.Random) -> Iterator[Check]:
    level = {"fp32": 124.0, "fp16": 57.5, "mixed": 58.0}
    for recipe, gating in RECIPES.items():
        for case in ("song", "song_file", "noise", "silence"):
            common = {"case": case, "recipe": recipe, "engine": "mil", "numerics": "storage"}
            for stem in STEMS:
                snr = level[recipe] + 8 * noise.random()
                outcome = compared(GATES["end_to_end"], snr, silent=case == "silence")
                yield check("end_to_end", "end_to_end", outcome, gating, stem=stem, **common)
                for channel in ("left", "right"):
                    outcome = compared(GATES["end_to_end"], snr + noise.random() - 0.5)
                    yield check(
                        "end_to_end",
                        "end_to_end",
                        outcome,
                        gating,
                        stem=stem,
                        channel=channel,
                        **common,
                    )


PROVENANCE: dict[str, Any] = {
    "command": "nox -s parity",
    "commit": "4f2c9e17b0d5a6c8e3f1a2b4c6d8e0f1a3b5c7d9",
    "versions": {
        "python": "3.11.9",
        "torch": "2.13.0",
        "demucs": "4.1.0",
        "coremltools": "9.0",
        "numpy": "2.3.5",
    },
    "machine": {
        "system": "Linux",
        "release": "6.8.0",
        "architecture": "x86_64",
        "processor": "AMD EPYC 7B13",
        "cores": 2,
        "torch_threads": 2,
        "torch_cpu_capability": "AVX2",
        "cuda": "",
    },
    "seeds": {"weights": 20_240_601, "cases": 7},
    "hashes": {SUBJECT: "9d4e1e23a8c7b6f5" * 4},
}


def build_run() -> Run:
    """Return a passing run: FP32 gating, FP16 and mixed exploratory, no Core ML."""
    noise = random.Random(1)
    checks = [
        *_ops(noise),
        *_stft_and_surgery(noise),
        *_conversion(noise),
        *_end_to_end(noise),
    ]
    return Run(
        profile=Profile(
            "default", subjects=(SUBJECT,), recipes=tuple(RECIPES), cases={SUBJECT: CASES}
        ),
        checks=tuple(checks),
        engines=(
            EngineState("torch", True, "", "2.13.0", executed=True),
            EngineState("mil", True, "", "0.1.0", executed=True, emulates=True),
            EngineState("coreml", False, "needs macOS, this is Linux", "9.0"),
            EngineState("onnx", False, "onnxruntime is not installed"),
        ),
        goldens=tuple(
            GoldenState(SUBJECT, case, "match", "equal to the committed fingerprint", "ab12" * 16)
            for case in CASES
        ),
        artefacts=run_rows(),
        provenance=PROVENANCE,
        started="2025-11-21T04:12:09Z",
        duration_s=512.4,
    )


def break_checks(run: Run) -> Run:
    """Return ``run`` with failures on three layers, a gap, a drifted golden and a dead worker."""
    checks = list(run.checks)
    places = {
        layer: [i for i, item in enumerate(checks) if item.layer == layer and item.gating]
        for layer in ("surgery", "conversion", "end_to_end")
    }
    for layer, gate, snr in (
        ("surgery", "surgery", 41.2),
        ("conversion", "conversion", 39.18),
        ("end_to_end", "end_to_end", 48.7),
    ):
        for place in places[layer][3:6]:
            outcome = compared(GATES[gate], snr, 74.2)
            checks[place] = replace(checks[place], outcome=outcome, gate=GATES[gate])
    misfit = Outcome(
        Verdict.FAIL,
        "values: expected finite, got 12 NaN or Inf in the candidate, first at (0, 2, 1, 77)",
        "values finite; SNR > 60 dB",
        "values 12 NaN or Inf in the candidate, first at (0, 2, 1, 77)",
        metrics={"snr_db": math.nan, "max_abs_error": math.nan},
    )
    checks[places["end_to_end"][9]] = replace(checks[places["end_to_end"][9]], outcome=misfit)
    gap = not_evaluated("the golden of this case is missing; run: parity golden build")
    checks[places["end_to_end"][12]] = replace(checks[places["end_to_end"][12]], outcome=gap)
    goldens = list(run.goldens)
    goldens[4] = replace(goldens[4], status="drift", message="fingerprint differs by 3.1e-3 (rel)")
    goldens[7] = replace(
        goldens[7], status="missing", message="was not built; run: parity golden build"
    )
    return replace(
        run,
        checks=tuple(checks),
        goldens=tuple(goldens),
        problems=("worker gw1 died while it ran suites/conversion/test_outputs.py",),
        gaps=("suites/stft/test_mps.py::test_device was skipped: needs MPS",),
    )


@pytest.fixture(scope="session")
def run() -> Run:
    """A passing run."""
    return build_run()


@pytest.fixture(scope="session")
def broken_run(run: Run) -> Run:
    """A run with failures, gaps and problems."""
    return break_checks(run)


@pytest.fixture
def make_check() -> Callable[..., Check]:
    """Return the builder of checks."""
    return check
