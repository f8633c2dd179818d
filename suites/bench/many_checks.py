"""A run document of any number of checks, as wide as a real one, and the same each time.

Labels, gates, words and commands have the length of those of the suites; a tenth of the checks is
exploratory, one in four hundred fails and as many were not evaluated, so that every part of the
page has something to show.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

from harness.verdicts import (
    GATES,
    Check,
    EngineState,
    Gate,
    Outcome,
    Profile,
    Run,
    Verdict,
    not_evaluated,
)

SUBJECTS = ("mini", "htdemucs_6s@seeded", "htdemucs@model.th")
CASES = ("song", "noise", "quiet", "hot", "chirp", "impulse", "silence", "sine", "dc", "anti_phase")
RECIPES = ("fp32", "mini_60db", "fp16", "mixed")
STEMS = ("drums", "bass", "other", "vocals")
CHANNELS = ("left", "right", "worst second")
TAPS = (
    *(f"{part}.{place}" for part in ("encoder", "tencoder", "decoder") for place in range(4)),
    *(f"crosstransformer.layers_t.{place}" for place in range(5)),
)
OPERATIONS = ("conv", "linear", "layer_norm", "gelu", "softmax", "matmul", "reduce_mean", "add")
EXPLORATORY = ("fp16", "mixed")
UNUSUAL = 400
"""One check in so many fails, and another one was not evaluated."""


def many_checks(count: int) -> Run:
    """Return a run with ``count`` checks on all five layers."""
    noise = random.Random(count)
    checks = tuple(
        _check(noise, place, layer, gate, labels)
        for place, (layer, gate, labels) in enumerate(itertools.islice(_places(), count))
    )
    return Run(
        profile=Profile("parity", subjects=SUBJECTS, recipes=RECIPES),
        checks=checks,
        engines=(
            EngineState("torch", True, "", "2.13.0", executed=True),
            EngineState("mil", True, "", "0.1.0", executed=True),
            EngineState("coreml", False, "needs macOS, this is Linux", "9.0"),
        ),
        provenance={"commit": "4f2c9e17b0d5", "machine": {"processor": "generated", "cores": 2}},
        started="2026-01-01T00:00:00+00:00",
        duration_s=3600.0,
    )


def _places() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield layer, gate and labels without end; the repetition is part of the identity."""
    for again in itertools.count():
        for operation, precision in itertools.product(OPERATIONS, ("fp32", "fp16")):
            what = f"{operation}, case {again}"
            yield "ops", f"ops_{precision}", {"engine": "mil", "tensor": operation, "what": what}
        for subject, case in itertools.product(SUBJECTS, CASES):
            at = {"subject": subject, "case": f"{case}_{again}"}
            yield "stft", "stft", {**at, "what": "round trip"}
            for tap in TAPS:
                yield "surgery", "surgery", {**at, "engine": "torch", "tensor": tap}
            for recipe in RECIPES:
                ran = {**at, "recipe": recipe, "engine": "mil", "numerics": "storage"}
                for branch in ("freq", "time"):
                    yield "conversion", "conversion", {**ran, "tensor": branch}
                for stem, channel in itertools.product(STEMS, CHANNELS):
                    yield "end_to_end", "end_to_end", {**ran, "stem": stem, "channel": channel}


def _check(
    noise: random.Random, place: int, layer: str, gate_name: str, labels: dict[str, str]
) -> Check:
    gate = GATES[gate_name]
    values = "-".join(labels[name] for name in ("subject", "case", "recipe") if name in labels)
    return Check(
        layer=layer,
        labels=labels,
        gating=labels.get("recipe") not in EXPLORATORY,
        gate=gate,
        outcome=_outcome(noise, place, gate),
        duration_s=round(noise.uniform(0.001, 2.0), 4),
        command=f"python -m pytest 'suites/{layer}/test_{layer}.py::test_{gate_name}[{values}]'",
    )


def _outcome(noise: random.Random, place: int, gate: Gate) -> Outcome:
    if place % UNUSUAL == 1:
        return not_evaluated("the golden of this case is missing; run: parity golden build")
    failing = place % UNUSUAL == 0
    headroom = noise.uniform(-30.0, -0.5) if failing else noise.uniform(0.2, 70.0)
    if place % 5 == 0 and not failing:
        headroom = math.inf
    snr = headroom + (gate.min_snr_db or 90.0)
    ratio = 10.0 ** (-headroom / 20.0)
    exact = headroom == math.inf
    reason = f"SNR {snr:.2f} dB, not above {gate.min_snr_db or 90.0:g} dB" if failing else ""
    return Outcome(
        verdict=Verdict.FAIL if failing else Verdict.PASS,
        reason=reason or ("identical" if exact else "within the gate"),
        expected=gate.describe(),
        observed="exact" if exact else f"{snr:.2f} dB, max difference {10 ** (-snr / 20):.3g}",
        headroom_db=headroom,
        tolerance_ratio=None if gate.rtol is None else ratio,
        metrics={"snr_db": snr, "max_abs_error": 0.0 if exact else 10 ** (-snr / 20)},
    )
