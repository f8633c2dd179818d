"""What a real run keeps beside its checks: one row of each kind for every recipe, case and stem."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any, Literal

from harness.verdicts import Verdict
from harness.verdicts.rows.artefacts import Artefacts
from harness.verdicts.rows.devices import Claim, DeviceLevel, DevicePrediction, Supposition
from harness.verdicts.rows.operations import OperationProfile, TapSeries
from harness.verdicts.rows.packages import (
    NetworkOutline,
    PackageAudit,
    PackageDescription,
    Rule,
    Split,
    Stage,
)
from harness.verdicts.rows.packs import PackOperation, PackResults
from harness.verdicts.rows.scores import Scores, StemScores
from harness.verdicts.rows.signals import Quality, Separation, StemQuality

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


LABELS = {"subject": SUBJECT, "engine": "mil", "numerics": "storage"}


def outline_row() -> NetworkOutline:
    """Return the parts that the taps belong to."""
    stages = (
        Stage("encoder", "encoder", "freq"),
        Stage("tencoder", "encoder", "time"),
        Stage("crosstransformer", "transformer", "freq"),
        Stage("decoder", "decoder", "freq"),
        Stage("tdecoder", "decoder", "time"),
    )
    return NetworkOutline(SUBJECT, STEMS, ("freq", "time"), stages)


def tap_rows() -> list[TapSeries]:
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
            precision: Literal["fp16", "fp32"] = "fp32" if wide else "fp16"
            points.append(OperationProfile(index, tap, "tap", tap, precision, {"snr_db": snr}))
        where = {**LABELS, "case": "song", "recipe": recipe}
        found.append(TapSeries(**where, reference="taps of PyTorch", operations=tuple(points)))
    return found


def package_rows() -> list[PackageDescription]:
    """Return the precision map of each recipe."""
    wide = {"fp32": set(OPS), "fp16": set(), "mixed": {"sqrt", "real_div", "reduce_mean"}}
    integers = {"cast"}
    names = ("pow", "sqrt", "real_div", "l2_norm", "reduce_mean", "reduce_sum", "softmax", "matmul")
    mixed = tuple(Rule(f"type = {n}", "fp32", OPS.get(n, 0), optional=n == "pow") for n in names)
    found = []
    for recipe, gating in RECIPES.items():
        counts = {
            op: Split(
                fp16=0 if op in wide[recipe] | integers else count,
                fp32=count if op in wide[recipe] - integers else 0,
                other=count if op in integers else 0,
            )
            for op, count in OPS.items()
        }
        everything = (Rule("*", recipe, 1008, optional=False),)
        found.append(
            PackageDescription(
                subject=SUBJECT,
                recipe=recipe,
                gating=gating,
                source=f"built-in recipe {recipe}",
                counts=counts,
                rules=mixed if recipe == "mixed" else everything,
                size_bytes=198_204_416 if recipe == "fp32" else 100_112_384,
                audit=PackageAudit(Verdict.PASS, "map equals recipe", ()),
            )
        )
    return found


def separation_row(**changed: Any) -> Separation:
    """Return how close one stem is, with some fields changed."""
    given: dict[str, Any] = {
        **LABELS,
        "case": "song",
        "recipe": "fp32",
        "stem": "bass",
        "snr_db": 70.0,
        "channel_snr_db": (69.8, 70.3),
        "worst_segment_snr_db": 67.5,
        "worst_segment_s": 3.9,
        "sdr_db": 71.1,
        "isr_db": 74.0,
        "sir_db": 82.0,
        "sar_db": 71.4,
        "diagnosis": "broadband noise, as rounding leaves it; no leakage",
        "note": "",
    }
    return Separation(**{**given, **changed})


def separation_rows() -> list[Separation]:
    """Return the separation metrics of each stem."""
    noise = random.Random(9)
    level = {"fp32": 124.0, "fp16": 57.5, "mixed": 58.0}
    found = []
    for recipe in RECIPES:
        for case in ("song", "song_file"):
            for place, stem in enumerate(STEMS):
                snr = level[recipe] + 1.4 * place + noise.random()
                found.append(
                    separation_row(
                        case=case,
                        recipe=recipe,
                        stem=stem,
                        snr_db=snr,
                        worst_segment_snr_db=snr - 2.5,
                        worst_segment_s=3.9 * (place + 1),
                        channel_snr_db=(snr - 0.2, snr + 0.3),
                        sdr_db=snr + 1.1,
                        isr_db=snr + 4.0,
                        sir_db=math.inf if recipe == "fp32" and place == 0 else snr + 12.0,
                        sar_db=None if stem == "piano" else snr + 1.4,
                        note="reference is nearly silent" if stem == "piano" else "",
                    )
                )
    return found


def quality_row(stem: str, case: str, recipe: str, expected: float, actual: float) -> Quality:
    """Return the quality of a stem whose scores are all one number."""
    scores = [StemQuality(stem, *(value,) * 6) for value in (expected, actual)]
    return Quality(SUBJECT, case, recipe, "mil", "storage", *scores)


def quality_rows() -> list[Quality]:
    """Return the scores of each stem against the truth, before and after conversion."""
    noise = random.Random(10)
    lost = {"fp32": 0.0, "fp16": 0.002, "mixed": 0.0015}
    found = []
    for recipe in RECIPES:
        for case in ("song", "song_file"):
            for place, stem in enumerate(STEMS):
                score = 9.0 - 2.5 * place + noise.random()
                found.append(quality_row(stem, case, recipe, score, score - lost[recipe]))
    return found


def score_rows() -> list[Scores]:
    """Return the published scores of each stem, PyTorch's and the candidate's."""
    bands = ((0.0, 707.9, 31.0), (707.9, 22_050.0, None))
    found = []
    for recipe in RECIPES:
        for place, stem in enumerate(STEMS):
            before = StemScores(
                stem, *(9.0 - place + step for step in range(7)), 4.2, -0.25, -0.98, 61.0, bands
            )
            after = replace(before, sdr_db=math.inf, isr_db=None, note="quiet")
            found.append(Scores(SUBJECT, "song", recipe, "mil", "storage", before, after))
    return found


def device_row(name: str, placement: str = "", captured_db: float | None = None) -> Any:
    """Return what a device is predicted to make of the song."""
    level = 45.0 if name.startswith("ane") else 61.0
    levels = [
        DeviceLevel(stem, level - place, level - place - 4.5, level - place + 1.0, captured_db)
        for place, stem in enumerate(STEMS)
    ]
    source = "guide, appendix A; measured on an M1"
    return DevicePrediction(
        *(SUBJECT, "song", "fp16", "mil", name),
        placement=placement,
        levels=tuple(levels),
        variants=() if placement else (Supposition(f"{name}, bias=wide", level - 4.2),),
        better=()
        if placement
        else (
            Supposition("tables", level + 12.5),
            Supposition("accumulation", level + 0.4),
        ),
        claims=(
            Claim("accumulator", "tiles_of_four", "inferred", "medium", source),
            Claim("product_ceiling", "32768.0", "measured", "high", source),
            Claim("bias", "fp16 or wide", "unknown", "medium", "one source has it added late"),
        ),
        note="The worst of 9 splits that adjoints led to, as executed." if placement else "",
    )


def device_rows() -> list[Any]:
    """Return two devices, one of which was captured, and the worst of all splits."""
    return [
        device_row("ane-m1"),
        device_row("gpu", captured_db=58.5),
        device_row("ane-m1, split worst", "worst"),
    ]


def pack_row() -> PackResults:
    """Return a pack with an operation of each verdict."""
    operations = (
        PackOperation("conv1d", "1-D convolution", 8, 0, 0, 21.5, "", ""),
        PackOperation("gelu", "GELU", 3, 1, 0, -4.0, "gelu.basic/out/y", "SNR 20 dB", ("a note",)),
        PackOperation("lstm", "LSTM", 0, 0, 4, None, "lstm.basic/out/y", "not there"),
    )
    return PackResults("ops", 41, "outputs alone", "./reader {pack} {out}", operations, ("more",))


def run_rows() -> Artefacts:
    """Return everything that a run keeps but figures."""
    rows = (
        *tap_rows(),
        *package_rows(),
        *separation_rows(),
        *quality_rows(),
        *score_rows(),
        *device_rows(),
        pack_row(),
        outline_row(),
    )
    return Artefacts().plus(rows)
