"""How long the precision lab takes, what it finds, and how that compares, on any device.

    parity convert mini --precision fp32 --out fp32.mlpackage
    python -m suites.bench.lab_time --package fp32.mlpackage --subject mini --device cuda \
        --case song --case dc --every-second --min-snr 60 --rtol 1e-3 --atol 1e-4 \
        --unseen quiet --unseen song:101 --baselines --out tuned

Measures sensitivities of every operation in FP16, then tunes: for the SNR, and with ``--rtol`` and
``--atol`` also for a goal that holds every element to them. With ``--unseen`` what was found is
judged on cases that tuning did not see, with ``--baselines`` it is held against other ways to
choose FP32 operations for the same goals, which need no margin. All are virtual runs. The folder
``--out`` gets a recipe for each goal, ``lab_time.json`` and the table that is printed last.

It needs PyTorch, NumPy, SciPy, safetensors, demucs, julius, einops, protobuf and the folder
``coremltools/proto``: nothing is converted, so it also runs where coremltools can't be installed.
Confirm a recipe where it can: ``parity convert mini --precision tuned/mini_60db.toml``.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import mil
from harness.atomic import write_text
from harness.audio import SAMPLE_RATE
from harness.audio.stft import spectrogram_from_waveform
from harness.golden import load_cases
from harness.golden.builder import make_audio
from harness.precision.sensitivity import Stems, measure_sensitivity, measures_of
from harness.precision.tuning import Goal, Trial, Tuner, tune, tuned_recipe
from harness.precision.virtual import VirtualPrecision
from harness.subjects.htdemucs import stem_waveform
from harness.subjects.names import ARCHITECTURES
from suites.bench.baselines import baselines

RECIPES = Path("golden", "recipes.toml")
CASE_HELP = "a golden case, or one with another seed (song:101); repeatable"
Inputs = dict[str, torch.Tensor]
say = partial(print, flush=True)


def main() -> None:
    """Measure, tune, compare, print."""
    options = _options()
    device = torch.device(options.device)
    stems = _stems(options.subject)
    cases = {name: _inputs(name, stems.names, device) for name in options.case}
    unseen = {name: _inputs(name, stems.names, device) for name in options.unseen}
    lab = VirtualPrecision(mil.load(options.package))
    lab.base.run(next(iter(cases.values())))  # what is made once, such as plans, is made here
    document: dict[str, Any] = {"device": str(device), "subject": options.subject}
    document |= {"cases": options.case, "unseen": options.unseen, "goals": {}}
    document["sensitivity_s"] = _time_sensitivity(lab, cases, stems, device)

    for name, goal in _goals(options).items():
        say(f"-- {name}")
        document["goals"][name] = _tuned(lab, cases, unseen, name, goal, options)
        if options.out is not None:
            text = json.dumps(document, indent=1, default=str) + "\n"
            write_text(options.out / "lab_time.json", text)


def _stems(subject: str) -> Stems:
    return Stems(ARCHITECTURES[subject].sources, stem_waveform, SAMPLE_RATE)


def _tuned(
    lab: VirtualPrecision,
    cases: Mapping[str, Inputs],
    unseen: Mapping[str, Inputs],
    name: str,
    goal: Goal,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Tune for one goal, write the recipe, and return it beside the other ways to choose."""
    device, stems = torch.device(options.device), _stems(options.subject)
    started = _now(device)
    tuner = Tuner(lab, cases, goal, stems, options.probes, report=say, at_once=options.at_once)
    parts = tuner.parts()
    parts_s = _now(device) - started
    tuning = tune(tuner, parts, rounds=options.rounds)
    tune_s = _now(device) - started
    say(f"tuning on {len(cases)} cases: {tune_s:.1f} s; {tuning.limit or 'reached'}")
    if options.out is not None and tuning.best is not None:
        recipe = tuned_recipe(lab, tuning, name=name, subject=options.subject, cases=options.case)
        write_text(options.out / f"{name}.toml", recipe.to_toml())
    ways: dict[str, Trial | None] = {"tuned": tuning.best}
    needs_no_margin = replace(goal, margin_db=0.0)
    if options.baselines:
        ways |= baselines(Tuner(lab, cases, needs_no_margin, stems), parts)
    other = Tuner(lab, unseen, needs_no_margin, stems) if unseen else None
    judged = {way: _judged(trial, other) for way, trial in ways.items()}
    say(_table(judged))
    return {"parts_s": parts_s, "tune_s": tune_s, "ways": judged, "tuning": tuning.to_dict()}


def _time_sensitivity(
    lab: VirtualPrecision,
    cases: Mapping[str, Inputs],
    stems: Stems,
    device: torch.device,
) -> float:
    started = _now(device)
    first = dict(list(cases.items())[:1])
    found = measure_sensitivity(
        lab, first, measures_of(stems, ())[:1], choice=lab.fp32_for(()), precision="fp16"
    )
    seconds = _now(device) - started
    say(f"sensitivity of {len(found.operations)} operations on 1 case: {seconds:.1f} s")
    for name, predicted in found.predicted_db.items():
        say(f"  {name}: predicted {predicted:.2f} dB, measured {found.measured_db[name]:.2f} dB")
    return seconds


def _goals(options: argparse.Namespace) -> dict[str, Goal]:
    """Return the goals by the names of their recipes."""
    goal = Goal(options.min_snr, margin_db=options.margin, every_second=options.every_second)
    goals = {f"{options.subject}_{options.min_snr:g}db": goal}
    if options.rtol is not None and options.atol is not None:
        elementwise = replace(goal, rtol=options.rtol, atol=options.atol)
        goals[f"{options.subject}_elementwise"] = elementwise
    return goals


def _judged(trial: Trial | None, unseen: Tuner | None) -> dict[str, Any] | None:
    """Return what a way to choose operations costs and gives; None if it never holds."""
    if trial is None:
        return None
    other = None if unseen is None else unseen.trial(trial.fp32)
    gaps = [abs(trial.measured_db[name] - db) for name, db in trial.predicted_db.items()]
    return {
        "operations": len(trial.fp32),
        "fp32_share": trial.fp32_share,
        "predicted_db": min(trial.predicted_db.values(), default=None),
        "furthest_gap_db": max((gap for gap in gaps if math.isfinite(gap)), default=None),
        "seen": _worst(trial),
        "unseen": None if other is None else _worst(other),
    }


def _worst(trial: Trial) -> dict[str, Any]:
    where = min(trial.measured_db, key=lambda name: trial.measured_db[name], default="")
    tolerance = max(trial.worst_tolerance, key=lambda name: trial.worst_tolerance[name], default="")
    return {
        "worst_db": trial.worst_db,
        "where": where,
        "tolerance": trial.worst_tolerance.get(tolerance),
        "tolerance_where": tolerance,
        "measured_db": dict(trial.measured_db),
        "worst_tolerance": dict(trial.worst_tolerance),
    }


def _table(ways: Mapping[str, dict[str, Any] | None]) -> str:
    """Return the ways in Markdown, one in a row."""
    lines = [
        "| way | operations | FP32 share | predicted | tuned on | of the tolerance "
        "| unseen | of the tolerance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for way, found in ways.items():
        if found is None:
            lines.append(f"| {way} | never holds | | | | | | |")
            continue
        cells = [way, str(found["operations"]), f"{100 * found['fp32_share']:.2f} %"]
        predicted = found["predicted_db"]
        cells.append("" if predicted is None else f"{predicted:.2f} dB")
        for side in (found["seen"], found["unseen"]):
            if side is None:
                cells += ["", ""]
                continue
            cells.append(f"{side['worst_db']:.2f} dB ({side['where']})")
            tolerance = side["tolerance"]
            cells.append(
                "" if tolerance is None else f"{tolerance:.2f} ({side['tolerance_where']})"
            )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--package", type=Path, required=True, help="the FP32 package")
    parser.add_argument("--subject", default="htdemucs_6s", choices=sorted(ARCHITECTURES))
    parser.add_argument("--case", action="append", required=True, help=CASE_HELP)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--min-snr", type=float, default=60.0)
    parser.add_argument("--margin", type=float, default=1.0)
    parser.add_argument("--rtol", type=float)
    parser.add_argument("--atol", type=float)
    parser.add_argument("--every-second", action="store_true")
    parser.add_argument("--probes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--unseen", action="append", default=[], help=CASE_HELP)
    parser.add_argument("--baselines", action="store_true", help="tune in other ways, too")
    parser.add_argument("--at-once", type=int, default=6, help="probes in one walk")
    parser.add_argument("--out", type=Path, help="a folder for recipes and the JSON")
    options = parser.parse_args()
    known = load_cases(RECIPES)
    for case in (*options.case, *options.unseen):
        if case.partition(":")[0] not in known:
            parser.error(f"no case is named {case!r}; there are {', '.join(known)}")
    return options


def _inputs(case: str, stems: tuple[str, ...], device: torch.device) -> Inputs:
    name, _, seed = case.partition(":")
    recipe = load_cases(RECIPES)[name]
    if seed:
        recipe = replace(recipe, parameters={**recipe.parameters, "seed": int(seed)})
    audio, _ = make_audio(recipe, stems)
    tensor = torch.from_numpy(np.ascontiguousarray(audio)).to(device)
    return {"spectrogram": spectrogram_from_waveform(tensor), "audio": tensor}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    main()
