"""Songs for training, made by worker processes while the network trains.

`SongStream` yields float32 songs [6, 2, n] in the order of their seeds, whatever the speed of the
workers, so what a step trains on depends on the run's seed and on the step alone. `SongPool` keeps
the latest of them on the training device.

Seeds below ``FIRST_TRAINING_SEED`` are never trained on: goldens and evaluation use those.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from ctypes import c_float
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.sharedctypes import RawArray
from multiprocessing.synchronize import Semaphore
from types import TracebackType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from harness.audio.contract import CHANNELS, SAMPLE_RATE
from harness.errors import ParityError
from harness.subjects.songs import STEMS, make_song

FIRST_TRAINING_SEED: Final = 1_000_000
HELD_OUT_SEEDS: Final = range(900_000, 900_020)
"""Songs of the evaluation."""

_SEEDS_PER_RUN: Final = 1_000_000
_SLOTS: Final = 2
_POLL_S: Final = 5.0


def training_seed(run_seed: int, number: int) -> int:
    """Seed of song ``number`` of a training run; runs share no songs."""
    return FIRST_TRAINING_SEED + run_seed * _SEEDS_PER_RUN + number


class SongStream:
    """Songs with the seeds first_seed, first_seed + 1, ... from worker processes, in this order.

    Worker w of W makes every W-th song into one of two slots of shared memory, and waits while
    both are full. Use as a context manager: leaving it stops the workers.

    Args:
        first_seed: seed of the first song.
        duration_s: seconds of each song.
        workers: processes.
    """

    def __init__(self, first_seed: int, duration_s: float, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.shape = (len(STEMS), CHANNELS, round(duration_s * SAMPLE_RATE))
        self._workers = [
            _Worker(
                context, range(first_seed + w, first_seed + _SEEDS_PER_RUN, workers), self.shape
            )
            for w in range(workers)
        ]
        self._taken = 0

    def __enter__(self) -> SongStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.stop()

    def take(self, target: Tensor) -> None:
        """Copy the next song into ``target`` (float32 [6, 2, n], on the CPU); waits for it.

        Raises:
            ParityError: the worker that should make it has died.
        """
        worker = self._workers[self._taken % len(self._workers)]
        worker.take(target)
        self._taken += 1


class _Worker:
    """One process and its two slots."""

    def __init__(self, context: SpawnContext, seeds: range, shape: tuple[int, ...]) -> None:
        count = int(np.prod(shape))
        buffers = [RawArray(c_float, count) for _ in range(_SLOTS)]
        self._slots = [torch.frombuffer(b, dtype=torch.float32).view(shape) for b in buffers]
        self._free = context.Semaphore(_SLOTS)
        self._ready = context.Semaphore(0)
        self._next = 0
        self._process: SpawnProcess = context.Process(
            target=_make_songs, args=(seeds, buffers, shape, self._free, self._ready), daemon=True
        )
        self._process.start()

    def take(self, target: Tensor) -> None:
        while not self._ready.acquire(timeout=_POLL_S):
            if not self._process.is_alive():
                raise ParityError(
                    f"a song worker ended with exit code {self._process.exitcode}; "
                    "its traceback is above, continue with --resume"
                )
        target.copy_(self._slots[self._next])
        self._next = (self._next + 1) % _SLOTS
        self._free.release()

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()


def _make_songs(
    seeds: range, buffers: list[Any], shape: tuple[int, ...], free: Semaphore, ready: Semaphore
) -> None:
    """The body of a worker process."""
    slots = [np.frombuffer(buffer, dtype=np.float32).reshape(shape) for buffer in buffers]
    parent = multiprocessing.parent_process()
    for turn, seed in enumerate(seeds):
        while not free.acquire(timeout=_POLL_S):
            if parent is None or not parent.is_alive():
                return  # a killed run must not leave its workers waiting for ever
        slots[turn % _SLOTS][...] = make_song(seed, shape[-1] / SAMPLE_RATE).stems
        ready.release()


class SongPool:
    """The ``size`` latest songs of a stream, float32 [size, 6, 2, n] on ``device``.

    Args:
        stream: where the songs come from.
        size: songs in the pool.
        first: number of the stream's first song in the run; song i lies in slot i % size.
    """

    def __init__(self, stream: SongStream, size: int, first: int, device: torch.device) -> None:
        self.songs = torch.empty((size, *stream.shape), device=device)
        self._stream = stream
        self._number = first
        self._staging = [
            torch.empty(stream.shape, pin_memory=device.type == "cuda") for _ in range(2)
        ]
        self._copied: list[Any] = [None, None]
        for _ in range(size):
            self.refresh()

    def refresh(self) -> None:
        """Replace the oldest song by the stream's next one."""
        turn = self._number % 2
        if self._copied[turn] is not None:
            self._copied[turn].synchronize()
        self._stream.take(self._staging[turn])
        slot = self._number % len(self.songs)
        self.songs[slot].copy_(self._staging[turn], non_blocking=True)
        if self.songs.is_cuda:
            self._copied[turn] = torch.cuda.Event()
            self._copied[turn].record()
        self._number += 1


def held_out_songs(workers: int) -> Iterator[Tensor]:
    """The stems of the evaluation's songs, float32 [6, 2, 343980] each."""
    duration_s = 7.8
    with SongStream(HELD_OUT_SEEDS.start, duration_s, workers) as stream:
        for _ in HELD_OUT_SEEDS:
            song = torch.empty(stream.shape)
            stream.take(song)
            yield song
