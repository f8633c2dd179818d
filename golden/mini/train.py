"""Train ``mini``, the small HTDemucs of the goldens, on synthesised songs.

    export PYTHONPATH=. OMP_NUM_THREADS=1 PYTORCH_ALLOC_CONF=expandable_segments:True
    python golden/mini/train.py --seed 0 --minutes 20 --out DIR

writes DIR/mini.safetensors (float16 weights, architecture, provenance, scores), DIR/results.json
and DIR/log.jsonl (one JSON object a line), and keeps a checkpoint that ``--resume`` continues from.

Without ``--steps`` the number of steps is set, once the speed is known, so that the run ends within
``--minutes``; it is recorded. With the same seed and steps a run sees the same songs, crops, gains
and learning rates at every step, whatever the machine's speed; GPU kernels that add in a free order
are what is left. Exit status: 0 when the network reaches its target, 1 when it does not or when
time ran out before the last step.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch
from network import ARGUMENTS, build_network, rounded_state, save_network
from scoring import score
from song_pool import HELD_OUT_SEEDS, SongPool, SongStream, held_out_songs, training_seed
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from training import STEPS_PER_SONG, Log, State, Trainer

import harness
from harness.atomic import write_text
from harness.errors import ParityError

SONG_S: Final = 12.0
FINISH_S: Final = 25.0
"""Seconds kept for the last evaluation and the export."""
EMA_DECAY: Final = 0.998


def new_state(options: argparse.Namespace) -> State:
    """A seeded network with its average and optimiser on the device."""
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    model = build_network().to(device)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, fused=device.type == "cuda"
    )
    return State(model.train(), average, optimizer, steps=options.steps)


def export(
    options: argparse.Namespace, state: State, held_out: list[Tensor], log: Log
) -> tuple[bool, Path]:
    """Round the averaged weights, score exactly what is written, and write it.

    Returns:
        whether the network is complete and reaches its target, and its file.
    """
    weights = rounded_state(state.average.module.state_dict())
    model = build_network().to(options.device)
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    scores = score(model.eval(), held_out, torch.device(options.device))
    complete = state.step == state.steps
    provenance = {**_provenance(options, state), "results": scores.as_dict()}
    path = options.out / "mini.safetensors"
    size = save_network(path, weights, provenance)
    described = {
        "arguments": {k: str(v) for k, v in ARGUMENTS.items()},
        **provenance,
        "si_sdr_improvement_by_song_db": scores.by_song(HELD_OUT_SEEDS),
    }
    write_text(options.out / "results.json", json.dumps(described, indent=2) + "\n")
    log.write("exported", bytes=size, complete=complete, **scores.as_dict())
    return complete and scores.reaches_target, path


def _provenance(options: argparse.Namespace, state: State) -> dict[str, object]:
    """How the weights were made, ready for JSON."""
    return {
        "seed": options.seed,
        "steps": state.step,
        "planned_steps": state.steps,
        "complete": state.step == state.steps,
        "trained_s": round(state.trained_s, 1),
        "precision": options.precision,
        "batch": options.batch,
        "crop_s": options.crop_s,
        "learning_rate": options.learning_rate,
        "spectral_weight": options.spectral_weight,
        "pool": options.pool,
        "held_out_seeds": [HELD_OUT_SEEDS.start, HELD_OUT_SEEDS.stop - 1],
        "device": _device_name(options.device),
        "versions": {
            "python": platform.python_version(),
            "harness": harness.__version__,
            "demucs": version("demucs"),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "scipy": version("scipy"),
        },
    }


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name()
    return platform.processor() or platform.machine()


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the small HTDemucs of the goldens.")
    parser.add_argument("--seed", type=int, default=0, help="0 to 999; default 0")
    parser.add_argument("--minutes", type=float, required=True, help="of this call, all included")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and log")
    parser.add_argument("--steps", type=int, help="default: as many as fit into the minutes")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="default: OUT/checkpoint.pt")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=max((os.cpu_count() or 2) // 2, 1))
    parser.add_argument("--pool", type=int, default=128, help="songs in the pool")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--crop-s", type=float, default=4.0)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--precision", choices=["bf16", "tf32", "fp32"], default="bf16")
    parser.add_argument("--spectral-weight", type=float, default=0.0)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--evaluate-every", type=int, default=500)
    options = parser.parse_args(arguments)
    if not 0 <= options.seed <= 999:
        parser.error(f"--seed {options.seed}: expected 0 to 999")
    if not 0.5 <= options.crop_s <= SONG_S:
        parser.error(f"--crop-s {options.crop_s}: expected 0.5 to {SONG_S:g}")
    if options.checkpoint is None:
        options.checkpoint = options.out / "checkpoint.pt"
    return options


def main(arguments: list[str] | None = None) -> int:
    """Train, evaluate, export."""
    started = time.monotonic()
    options = parse_options(arguments)
    deadline = started + 60 * options.minutes - FINISH_S
    device = torch.device(options.device)
    torch.backends.cudnn.allow_tf32 = options.precision != "fp32"
    torch.set_float32_matmul_precision("highest" if options.precision == "fp32" else "high")
    log = Log(options.out / "log.jsonl", started)
    state = new_state(options)
    if options.resume:
        state.load(options.checkpoint, options.seed, device)
    log.write("started", step=state.step, steps=state.steps, device=_device_name(options.device))
    held_out = list(held_out_songs(options.workers))
    first = state.step // STEPS_PER_SONG
    with SongStream(training_seed(options.seed, first), SONG_S, options.workers) as stream:
        pool = SongPool(stream, options.pool, first, device)
        log.write("pool is full", songs=options.pool)
        Trainer(options, state, log).run(pool, held_out, deadline)
    reached, path = export(options, state, held_out, log)
    print(path)
    return 0 if reached else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ParityError as error:
        sys.exit(f"train.py: {error}")
