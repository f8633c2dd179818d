"""The training loop of ``mini``: state and checkpoints, log, schedule, steps.

Everything that a step uses is drawn from the run's seed and the step's number, so a resumed run
does what an unbroken one would have done.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from remix import draw_batch
from scoring import score
from song_pool import SongPool
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from harness.atomic import atomic_file
from harness.audio.contract import SAMPLE_RATE, SEGMENT_LENGTH
from harness.errors import CheckpointError, ParityError

STEPS_PER_SONG: Final = 2
"""Steps between two refreshes of the pool, one song each."""
WARM_UP_STEPS: Final = 200
SPEED_STEPS: Final = (60, 120)
"""Between these steps the speed is measured, after the first ones, which are slow."""
LONG_SHARE: Final = 0.2
"""The share of the steps, at the end, that train on whole segments instead of short crops."""
LONG_COST: Final = 1.2
"""Time of a long step over that of a short one; 1.12 was measured on an H200."""
LARGEST_NORM: Final = 5.0


@dataclass
class State:
    """What training changes, and what a checkpoint holds."""

    model: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    steps: int | None = None
    trained_s: float = 0.0

    def save(self, path: Path, seed: int) -> None:
        """Write a checkpoint, atomically."""
        with atomic_file(path) as temporary:
            torch.save(
                {
                    "seed": seed,
                    "step": self.step,
                    "steps": self.steps,
                    "trained_s": self.trained_s,
                    "model": self.model.state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                },
                temporary,
            )

    def load(self, path: Path, seed: int, device: torch.device) -> None:
        """Continue from a checkpoint.

        Raises:
            CheckpointError: there is none, or it belongs to another seed.
        """
        if not path.is_file():
            raise CheckpointError(f"no checkpoint {path}; run without --resume to start")
        stored = torch.load(path, map_location=device, weights_only=True)
        if stored["seed"] != seed:
            raise CheckpointError(
                f"checkpoint {path} is of seed {stored['seed']}, not {seed}; give --seed or --out"
            )
        self.model.load_state_dict(stored["model"])
        self.average.load_state_dict(stored["average"])
        self.optimizer.load_state_dict(stored["optimizer"])
        self.step, self.steps = stored["step"], stored["steps"]
        self.trained_s = stored["trained_s"]


class Log:
    """JSON lines in a file, and a short form on stderr."""

    def __init__(self, path: Path, started: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._started = path, started

    def write(self, event: str, **values: Any) -> None:
        """Append one line."""
        elapsed = round(time.monotonic() - self._started, 1)
        line = json.dumps({"event": event, "elapsed_s": elapsed, **values})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, file=sys.stderr, flush=True)


def learning_rate(peak: float, step: int, steps: int | None) -> float:
    """Linear warm-up, then half a cosine to 1 % of ``peak``; flat while ``steps`` is unknown."""
    warm_up = WARM_UP_STEPS if steps is None else min(WARM_UP_STEPS, steps // 5 + 1)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    if steps is None:
        return peak
    progress = (step - warm_up) / max(steps - warm_up, 1)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def spectral_distance(expected: Tensor, actual: Tensor) -> Tensor:
    """Mean absolute difference of magnitudes at three resolutions, per sample of the waveform."""
    flat = [signal.reshape(-1, signal.shape[-1]) for signal in (expected, actual)]
    total = torch.zeros((), device=expected.device)
    for n_fft in (512, 1024, 2048):
        window = torch.hann_window(n_fft, device=expected.device)
        magnitudes = [
            torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True).abs() for x in flat
        ]
        total = total + (magnitudes[0] - magnitudes[1]).abs().mean() / n_fft**0.5
    return total / 3


class Trainer:
    """The training loop on one device.

    Args:
        options: the command line.
        state: network, average and optimiser, moved to the device.
    """

    def __init__(self, options: argparse.Namespace, state: State, log: Log) -> None:
        self.options, self.state, self.log = options, state, log
        self.device = torch.device(options.device)
        self._marks: list[tuple[int, float]] = []
        self._waited_s = 0.0

    def _batch(self, songs: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of the present step: a function of seed and step."""
        step, steps, options = self.state.step, self.state.steps, self.options
        rng = np.random.default_rng(np.random.SeedSequence([options.seed, 1, step]))
        if steps is not None and step >= (1 - LONG_SHARE) * steps:
            longest = min(SEGMENT_LENGTH, songs.shape[-1])
            size = max(round(options.batch * options.crop_s * SAMPLE_RATE / longest), 1)
            return draw_batch(songs, size, longest, rng)
        return draw_batch(songs, options.batch, round(options.crop_s * SAMPLE_RATE), rng)

    def _train_step(self, songs: Tensor) -> Tensor:
        state, options = self.state, self.options
        mixture, stems = self._batch(songs)
        rate = learning_rate(options.learning_rate, state.step, state.steps)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        with _precision(self.device, options.precision):
            estimate = state.model(mixture)
        loss: Tensor = (estimate.float() - stems).abs().mean()
        if options.spectral_weight:
            loss = loss + options.spectral_weight * spectral_distance(stems, estimate.float())
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(state.model.parameters(), LARGEST_NORM)
        state.optimizer.step()
        state.average.update_parameters(state.model)
        state.step += 1
        return loss.detach()

    def run(self, pool: SongPool, held_out: list[Tensor], deadline: float) -> None:
        """Train until the last step or the deadline (``time.monotonic``)."""
        state, options = self.state, self.options
        losses: list[Tensor] = []
        while state.steps is None or state.step < state.steps:
            if time.monotonic() > deadline:
                self.log.write("out of time", step=state.step, steps=state.steps)
                break
            stepping = time.monotonic()
            losses.append(self._train_step(pool.songs))
            if state.step % STEPS_PER_SONG == 0:
                waiting = time.monotonic()
                pool.refresh()
                self._waited_s += time.monotonic() - waiting
            if state.steps is None:
                self._plan(deadline)
            state.trained_s += time.monotonic() - stepping
            if state.step % options.log_every == 0:
                self._report(losses)
            if state.step % options.evaluate_every == 0:
                self._evaluate(held_out[:4])
                state.save(options.checkpoint, options.seed)
        self._synchronize()
        state.save(options.checkpoint, options.seed)

    def _plan(self, deadline: float) -> None:
        """Set the number of steps from the measured speed."""
        if self.state.step not in SPEED_STEPS:
            return
        self._synchronize()
        self._marks.append((self.state.step, time.monotonic()))
        if len(self._marks) == len(SPEED_STEPS):
            (first, start), (last, end) = self._marks
            step_s = (end - start) / (last - first) * (1 + LONG_SHARE * (LONG_COST - 1))
            self.state.steps = last + int(0.98 * max(deadline - end, 0.0) / step_s)
            self.log.write("planned", steps=self.state.steps, step_s=round(step_s, 4))

    def _report(self, losses: list[Tensor]) -> None:
        loss = float(torch.stack(losses).mean())
        losses.clear()
        if not math.isfinite(loss):
            raise ParityError(
                f"the loss is {loss} at step {self.state.step}; the last checkpoint is intact: "
                "resume with --precision tf32 or a lower --learning-rate"
            )
        self.log.write(
            "step",
            step=self.state.step,
            steps=self.state.steps,
            loss=round(loss, 6),
            learning_rate=self.state.optimizer.param_groups[0]["lr"],
            trained_s=round(self.state.trained_s, 1),
            waited_for_songs_s=round(self._waited_s, 1),
        )

    def _evaluate(self, songs: list[Tensor]) -> None:
        scores = score(self.state.average.module.eval(), songs, self.device)
        self.log.write("scores", step=self.state.step, **scores.as_dict())

    def _synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


@contextlib.contextmanager
def _precision(device: torch.device, precision: str) -> Iterator[None]:
    """The arithmetic of the forward pass; losses and weights stay in float32."""
    if precision == "bf16":
        with torch.autocast(device.type, torch.bfloat16):
            yield
    else:
        yield
