"""What a real run keeps beside its checks: one row of each kind for every recipe, case and stem."""

from __future__ import annotations

import math
import random
from typing import Any

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


def network_rows() -> list[dict[str, Any]]:
    """Return the error at each tap for each recipe."""
    noise = random.Random(5)
    found = []
    for recipe in RECIPES:
        level, points = {"fp32": 150.0, "fp16": 78.0, "mixed": 80.0}[recipe], []
        for index, tap in enumerate(TAPS):
            level -= noise.choice([0.0, 0.5, 1.0])
            snr: float | None = level + noise.gauss(0, 1.2)
            if index == 0:
                snr = math.inf
            elif tap == "tencoder.2":
                snr = None
            wide = recipe == "fp32" or (recipe == "mixed" and "layers" in tap)
            points.append(
                {
                    "index": index,
                    "op": tap,
                    "type": "tap",
                    "module": tap,
                    "precision": "fp32" if wide else "fp16",
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
                "reference": "taps of the original in PyTorch",
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
