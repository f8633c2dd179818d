"""How long the precision lab takes on a published architecture, on any device.

    parity convert htdemucs_6s@seeded --precision fp32 --out fp32.mlpackage
    python suites/bench/lab_time.py --package fp32.mlpackage --subject htdemucs_6s --device cuda \
        --case song --case noise --min-snr 60 --out tuned --unseen quiet --baselines

Measures sensitivities of every operation in FP16, then tunes, and prints both times with what was
found; ``--out tuned`` leaves ``tuned.toml`` and ``tuned.json``. With ``--unseen`` the result is
judged on cases that tuning did not see, with ``--baselines`` it is held against other ways to
choose FP32 operations for the same goal. All are virtual runs. It needs PyTorch, NumPy, SciPy,
safetensors, demucs, julius, einops, protobuf and the folder ``coremltools/proto``: nothing is
converted, so it also runs where coremltools can't be installed. Confirm the recipe where it can:
``parity convert htdemucs_6s@seeded --precision tuned.toml``.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from harness import mil
from harness.atomic import write_text
from harness.audio import spectrogram_from_waveform
from harness.golden import load_cases
from harness.golden.builder import make_audio
from harness.precision import (
    AllStemsMeasure,
    Goal,
    Tuner,
    VirtualPrecision,
    measure_sensitivity,
    tuned_recipe,
)
from harness.precision.baselines import baselines
from harness.subjects.names import ARCHITECTURES

Inputs = dict[str, torch.Tensor]


def main() -> None:
    """Measure, tune, print."""
    options = _options()
    device = torch.device(options.device)
    stems = ARCHITECTURES[options.subject].sources
    cases = {name: _inputs(name, stems, device) for name in options.case}
    lab = VirtualPrecision(mil.load(options.package))
    lab.base.run(next(iter(cases.values())))  # what is made once, such as plans, is made here

    started = _now(device)
    first = dict(list(cases.items())[:1])
    found = measure_sensitivity(
        lab, first, [AllStemsMeasure(stems)], choice=lab.fp32_for(()), precision="fp16"
    )
    sensitivity_s = _now(device) - started
    print(f"sensitivity of {len(found.operations)} operations on 1 case: {sensitivity_s:.1f} s")
    for name, predicted in found.predicted_db.items():
        print(f"  {name}: predicted {predicted:.2f} dB, measured {found.measured_db[name]:.2f} dB")

    started = _now(device)
    goal = Goal(options.min_snr, options.rtol, options.atol, options.margin)
    goal = replace(goal, every_second=options.every_second)
    tuner = Tuner(lab, cases, goal, stems, probes=options.probes, report=partial(print, flush=True))
    parts = tuner.parts()
    tuning = tuner.tune(parts, rounds=options.rounds)
    tune_s = _now(device) - started
    print(f"tuning on {len(cases)} cases: {tune_s:.1f} s; {tuning.limit or 'reached'}")
    times = {"device": str(device), "sensitivity_s": sensitivity_s, "tune_s": tune_s}
    if options.out is not None:
        text = json.dumps({**times, **tuning.to_dict()}, indent=1, default=str) + "\n"
        write_text(options.out.with_suffix(".json"), text)
        if tuning.best is not None:
            subject, name = options.subject, options.out.name
            recipe = tuned_recipe(lab, tuning, name=name, subject=subject, cases=options.case)
            write_text(options.out.with_suffix(".toml"), recipe.to_toml())
    print(json.dumps(times))
    if tuning.best is not None:
        for name in options.unseen:
            inputs = {name: _inputs(name, stems, device)}
            trial = Tuner(lab, inputs, replace(goal, margin_db=0.0), stems).trial(tuning.best.fp32)
            print(f"unseen {name}: {trial.describe(goal)}", flush=True)
    if options.baselines:
        unsafe = Tuner(lab, cases, replace(goal, margin_db=0.0), stems, probes=options.probes)
        for name, rival in baselines(unsafe, parts).items():
            print(f"{name}: {rival.describe(goal) if rival else 'never holds'}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--package", type=Path, required=True, help="the FP32 package")
    parser.add_argument("--subject", default="htdemucs_6s", choices=sorted(ARCHITECTURES))
    parser.add_argument("--case", action="append", required=True, help="a golden case, repeatable")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--min-snr", type=float, default=60.0)
    parser.add_argument("--margin", type=float, default=1.0)
    parser.add_argument("--rtol", type=float)
    parser.add_argument("--atol", type=float)
    parser.add_argument("--every-second", action="store_true")
    parser.add_argument("--probes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--unseen", action="append", default=[], help="a case, repeatable")
    parser.add_argument("--baselines", action="store_true", help="tune in other ways, too")
    parser.add_argument("--out", type=Path, help="where to leave NAME.toml and NAME.json")
    return parser.parse_args()


def _inputs(case: str, stems: tuple[str, ...], device: torch.device) -> Inputs:
    audio, _ = make_audio(load_cases(Path("golden/recipes.toml"))[case], stems)
    tensor = torch.from_numpy(np.ascontiguousarray(audio)).to(device)
    return {"spectrogram": spectrogram_from_waveform(tensor), "audio": tensor}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    main()
