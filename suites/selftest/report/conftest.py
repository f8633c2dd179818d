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

SUBJECT = "htdemucs_6s@seeded"
CASES = (
    *("silence", "sine", "noise", "chirp", "impulse", "quiet", "hot", "anti_phase", "dc"),
    *("song", "song_file"),
)
STEMS = ("drums", "bass", "other", "vocals", "guitar", "piano")
RECIPES = {"fp32": True, "fp16": False, "mixed": False}
TAPS = (
    *(f"encoder.{i}" for i in range(4)),
    *(f"tencoder.{i}" for i in range(4)),
    *(f"crosstransformer.layers.{i}" for i in range(5)),
    *(f"decoder.{i}" for i in range(4)),
    *(f"tdecoder.{i}" for i in range(4)),
)
OPS = {
    "conv": 96,
    "add": 152,
    "mul": 118,
    "reshape": 140,
    "transpose": 96,
    "linear": 70,
    "layer_norm": 42,
    "gelu": 58,
    "sigmoid": 48,
    "split": 48,
    "slice_by_index": 44,
    "scaled_dot_product_attention": 10,
    "conv_transpose": 8,
    "reduce_mean": 12,
    "sqrt": 4,
    "real_div": 6,
    "square": 4,
    "sub": 8,
    "expand_dims": 10,
    "squeeze": 8,
    "pad": 12,
    "cast": 14,
}


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


def network_rows(operations: int = 900) -> list[dict[str, Any]]:
    """Return the error along a program for each recipe."""
    noise = random.Random(5)
    names = [name for name, count in OPS.items() for _ in range(count)]
    noise.shuffle(names)
    modules = (
        [f"encoder.{i}" for i in range(4)]
        + [f"crosstransformer.layers.{i}" for i in range(5)]
        + [f"decoder.{i}" for i in range(4)]
    )
    found = []
    for recipe in RECIPES:
        level, points = {"fp32": 150.0, "fp16": 78.0, "mixed": 80.0}[recipe], []
        for index in range(operations):
            op = names[index % len(names)]
            level -= noise.choice([0.0, 0.0, 0.02, 0.03]) + (0.9 if noise.random() > 0.995 else 0)
            wide = recipe == "fp32" or (
                recipe == "mixed" and op in ("layer_norm", "sqrt", "linear")
            )
            snr: float | None = level + noise.gauss(0, 1.2)
            if index < 6:
                snr = math.inf
            elif op == "cast" and index % 3 == 0:
                snr = None
            module = modules[min(index * len(modules) // operations, len(modules) - 1)]
            points.append(
                {
                    "index": index,
                    "op": f"{module.replace('.', '_')}_{op}_{index}_cast_fp16",
                    "type": op,
                    "module": f"{module}.{op}",
                    "precision": "int32" if op == "cast" else "fp32" if wide else "fp16",
                    "snr_db": snr,
                    "rms_dbfs": -23.0,
                }
            )
        found.append(
            {
                "subject": SUBJECT,
                "case": "song",
                "recipe": recipe,
                "engine": "mil",
                "numerics": "storage",
                "reference": "PyTorch tap" if recipe == "fp32" else "the FP32 program",
                "points": points,
            }
        )
    return found


def precision_rows() -> list[dict[str, Any]]:
    """Return the precision map of each recipe."""
    wide = {"fp32": set(OPS), "fp16": set(), "mixed": {"sqrt", "real_div", "reduce_mean"}}
    integers = {"cast"}
    rules = ("pow", "sqrt", "real_div", "l2_norm", "reduce_mean", "reduce_sum", "softmax", "matmul")
    found = []
    for recipe, gating in RECIPES.items():
        counts = {
            op: {
                "fp16": 0 if op in wide[recipe] | integers else count,
                "fp32": count if op in wide[recipe] - integers else 0,
                "other": count if op in integers else 0,
            }
            for op, count in OPS.items()
        }
        mixed = [
            {
                "rule": f"type = {name}",
                "precision": "fp32",
                "matched": OPS.get(name, 0),
                "optional": name == "pow",
            }
            for name in rules
        ]
        everything = [{"rule": "*", "precision": recipe, "matched": 1008, "optional": False}]
        found.append(
            {
                "subject": SUBJECT,
                "recipe": recipe,
                "counts": counts,
                "rules": mixed if recipe == "mixed" else everything,
                "size_bytes": 198_204_416 if recipe == "fp32" else 100_112_384,
                "operations": sum(OPS.values()),
                "gating": gating,
                "audit": {"verdict": "pass", "differences": [], "reason": "map equals recipe"},
                "source": f"built-in recipe {recipe}",
            }
        )
    return found


def separation_rows() -> list[dict[str, Any]]:
    """Return the separation metrics of each stem."""
    noise = random.Random(9)
    level = {"fp32": 124.0, "fp16": 57.5, "mixed": 58.0}
    found = []
    for recipe in RECIPES:
        for case in ("song", "song_file"):
            for place, stem in enumerate(STEMS):
                snr = level[recipe] + 1.4 * place + noise.random()
                found.append(
                    {
                        "subject": SUBJECT,
                        "case": case,
                        "recipe": recipe,
                        "stem": stem,
                        "snr_db": snr,
                        "worst_segment_snr_db": snr - 2.5,
                        "worst_segment_s": 3.9 * (place + 1),
                        "channel_snr_db": [snr - 0.2, snr + 0.3],
                        "sdr_db": snr + 1.1,
                        "isr_db": snr + 4.0,
                        "sir_db": math.inf if recipe == "fp32" and place == 0 else snr + 12.0,
                        "sar_db": None if stem == "piano" else snr + 1.4,
                        "diagnosis": "broadband noise, as rounding leaves it; no leakage",
                        "note": "reference is nearly silent" if stem == "piano" else "",
                    }
                )
    return found


def quality_rows() -> list[dict[str, Any]]:
    """Return the scores of each stem against the truth, before and after conversion."""
    noise = random.Random(10)
    lost = {"fp32": 0.0, "fp16": 0.002, "mixed": 0.0015}
    found = []
    for recipe in RECIPES:
        for case in ("song", "song_file"):
            for place, stem in enumerate(STEMS):
                names = ("si_sdr_db", "si_sdr_gain_db", "sdr_db", "isr_db", "sir_db", "sar_db")
                scores = {name: 9.0 - 2.5 * place + noise.random() for name in names}
                found.append(
                    {
                        "subject": SUBJECT,
                        "case": case,
                        "recipe": recipe,
                        "stem": stem,
                        "expected": scores,
                        "actual": {name: score - lost[recipe] for name, score in scores.items()},
                    }
                )
    return found


def envelope_rows() -> list[dict[str, Any]]:
    """Return the SNR of each output under every numerics."""
    shift = {"storage": 0.0, "float64": 0.3, "fp16_accumulate": -6.4}
    return [
        {
            "subject": SUBJECT,
            "case": "song",
            "recipe": recipe,
            "numerics": numerics,
            "tensor": tensor,
            "snr_db": 63.0 + change + (tensor == "time") * 1.7,
        }
        for recipe in ("fp16", "mixed")
        for tensor in ("freq", "time")
        for numerics, change in shift.items()
    ]


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
            EngineState("mil", True, "", "0.1.0", executed=True),
            EngineState("coreml", False, "needs macOS, this is Linux", "9.0"),
            EngineState("onnx", False, "onnxruntime is not installed"),
        ),
        goldens=tuple(
            GoldenState(SUBJECT, case, "match", "equal to the committed fingerprint", "ab12" * 16)
            for case in CASES
        ),
        artefacts={
            "error_along_network": network_rows(),
            "precision_map": precision_rows(),
            "separation": separation_rows(),
            "quality": quality_rows(),
            "envelope": envelope_rows(),
        },
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
