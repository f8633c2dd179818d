"""Rows for figures that look like real ones, one of each kind, made without a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from harness.audio import SAMPLE_RATE
from harness.verdicts.rows.documents import attachment
from harness.verdicts.rows.operations import OperationProfile, OperationSeries
from harness.verdicts.rows.packages import Explanation, Step
from harness.verdicts.rows.signals import TransformError, WindowSums
from harness.workbench.pictures import audio_clip, error_counts, stem_picture, stem_timeline
from harness.workbench.rasters import raster

SUBJECT, CASE, STEM = "htdemucs_6s@seeded", "song", "drums"
MODULES = ("encoder.0.conv", "crosstransformer.layers.1.linear1", "decoder.3.rewrite")
TYPES = ("conv", "linear", "layer_norm", "softmax")


def labels(recipe: str, subject: str = SUBJECT) -> dict[str, str]:
    where = {"subject": subject, "case": CASE, "recipe": recipe}
    return where | {"engine": "mil", "numerics": "storage"}


def series(recipe: str, operations: int = 60, **columns: Sequence[Any]) -> OperationSeries:
    """Return a series that falls from 90 dB by half a dB with each operation.

    Args:
        recipe: of the run.
        operations: how many.
        columns: metrics by name, in place of its own.
    """
    level = 140.0 if recipe == "fp32" else 88.0
    places = range(operations)
    narrow = {"fp32": 0, "fp16": 1, "mixed": 2}[recipe]
    metrics: dict[str, Sequence[Any]] = {
        "snr_db": [math.inf if place < 2 else level - 0.5 * place for place in places],
        "local_db": [level - 7 * (place == 20) for place in places],
        "max_abs_error": [1e-6 * (place + 1) for place in places],
        "peak": [40_000.0 if place == 33 else 1.5 for place in places],
        "ulp_p99": [place + 1.0 for place in places],
        "subnormal_share": [0.01] * operations,
        **columns,
    }
    return OperationSeries(
        **labels(recipe),
        reference="the FP32 program",
        operations=tuple(
            OperationProfile(
                index=3 * place,
                operation=f"op_{place}",
                type=TYPES[place % len(TYPES)],
                module=MODULES[place * len(MODULES) // operations],
                precision="fp16" if narrow and place % narrow == 0 else "fp32",
                metrics={name: column[place] for name, column in metrics.items()},
            )
            for place in places
        ),
    )


def stem() -> tuple[np.ndarray, np.ndarray]:
    """Return a stem of two seconds and a candidate that is wrong in the second one."""
    noise = np.random.default_rng(3)
    expected = (0.1 * noise.standard_normal((2, 88_200))).astype(np.float32)
    rest = 1e-4 * noise.standard_normal(expected.shape)
    rest[:, 44_100:] *= 30
    return expected, (expected + rest).astype(np.float32)


def transform_row() -> TransformError:
    """Return a transform whose first frame stands out."""
    frames = tuple(-130.0 + 20 * (place == 0) for place in range(40))
    return TransformError(
        direction="forward",
        implementation="torch.stft in float32",
        reference="the same in float64",
        signal="noise",
        snr_db=137.0,
        picture=raster(np.zeros((8, 40)) - 130.0, -140.0, -120.0),
        high_hz=22_050.0,
        by_frequency_hz=tuple(100.0 * place for place in range(20)),
        by_frequency_db=(-131.0,) * 20,
        by_time_s=tuple(0.02 * place for place in range(40)),
        by_time_db=frames,
        edge=2,
    )


def window_row() -> WindowSums:
    ripple = tuple(1e-7 * math.sin(place) for place in range(64))
    return WindowSums(
        "Hann", 4096, 1024, 2.0, 1e-7, 1.5, 2e-7, ripple, ripple, "noise", (-70.0, None, -71.0)
    )


SENSITIVITY: dict[str, Any] = {
    "kind": "sensitivity",
    "version": 1,
    "subject": SUBJECT,
    "precision": "fp16",
    "cases": [CASE],
    "measures": ["stems", "freq"],
    "predicted_db": {"song/stems": 61.0},
    "measured_db": {"song/stems": 60.6},
    "operations": [
        {
            "operation": f"op_{place}",
            "type": TYPES[place % 4],
            "module": MODULES[0],
            "mean": {"stems": 1e-6 / 4**place, "freq": 1e-7},
        }
        for place in range(9)
    ],
}
TUNING: dict[str, Any] = {
    "kind": "tuning",
    "subject": SUBJECT,
    "cases": [CASE],
    "goal": {"min_snr_db": 60.0, "cost": "flops"},
    "reached": True,
    "limit": "",
    "best": {"fp32": ["a", "b"], "fp32_share": 0.3, "measured_db": {"x": 61.0}, "holds": True},
    "trials": [
        {
            "fp32": ["a"] * size,
            "fp32_share": size / 10,
            "measured_db": {"x": 50.0 + 4 * size, "y": 70.0},
            "holds": size > 2,
        }
        for size in (1, 2, 3, 5)
    ],
}
HEADROOM: dict[str, Any] = {
    "numerics": "storage",
    "as_fp16": True,
    "cases": ["hot"],
    "at_risk": ["op_3"],
    "operations": [
        {
            "operation": f"op_{place}",
            "type": "conv",
            "module": MODULES[1],
            "headroom_db": 30.0 - 9 * place,
            "risks": [{"kind": "range", "reason": "reaches 4e4", "case": "hot"}] * (place == 3),
        }
        for place in range(4)
    ],
}


BENCH: dict[str, Any] = {
    "kind": "bench",
    "version": 1,
    "started": "2026",
    "provenance": {"commit": "ab12", "machine": {"processor": "EPYC"}},
    "figures": [{"name": "ratio", "value": 1.5, "unit": "s", "limit": 2.0}],
}
JUDGED: dict[str, Any] = {
    "kind": "conformance",
    "version": 1,
    "verdict": "fail",
    "sentence": "1 of 2 failed",
    "selection": "all",
    "started": "2026",
    "provenance": {"commit": "ab12"},
    "counts": {"passed": 1, "failed": 1},
    "operations": [{"operation": "conv", "passed": 1, "failed": 1}],
    "failures": [{"id": "test_conv.py::x", "reason": "1 differs"}],
    "problems": ["a test process died"],
}


@lru_cache
def figure_rows() -> tuple[Any, ...]:
    """Return rows of every kind that a figure needs."""
    expected, actual = stem()
    items: list[Any] = [series(recipe) for recipe in ("fp32", "fp16", "mixed")]
    for recipe in ("fp32", "fp16"):
        named = labels(recipe)
        items += [
            error_counts(expected, actual, "stems", named),
            stem_picture(expected, actual, STEM, named, rate=SAMPLE_RATE),
            stem_timeline(expected, actual, STEM, named, rate=SAMPLE_RATE),
        ]
    items += [transform_row(), window_row()]
    documents = {"s": SENSITIVITY, "t": TUNING, "h": HEADROOM, "b": BENCH, "c": JUDGED}
    items += [attachment(name, document) for name, document in documents.items()]
    step = Step("Which operation, and why?", "gelu 'y' in encoder.0.", ("79.9 dB alone",))
    items += [Explanation((step,), ("parity check X.mlpackage --subject mini",))]
    items += [audio_clip(expected, actual, STEM, 1.2, labels("fp16"), rate=SAMPLE_RATE)]
    return tuple(items)
