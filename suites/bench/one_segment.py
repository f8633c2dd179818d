"""One segment through the executor and through PyTorch's eager forward, side by side.

    python suites/bench/one_segment.py --package fp32=A.mlpackage --package fp16=B.mlpackage

The sides take turns, so that whatever else the machine does falls on both. What counts are the
ratios to PyTorch's eager float32 forward of the same network. On CUDA a side is timed by CUDA
events (milliseconds on the device's clock, gaps in which it waits for Python included), on a CPU by
the processor time and the wall clock of this process. TF32 is off on every side.

Packages run in ``storage``; on CUDA all but ``fp32`` run in ``native``, too, and each is also
replayed from a recording. One JSON document on stdout: for each side the milliseconds of all
rounds, their median, the median ratio, and the SNR of its outputs against ``storage`` on the CPU
(``null`` where they are equal, bit for bit).

Needs no coremltools but its protocol buffers: a folder on the import path that holds nothing but
``coremltools/proto`` is enough, with ``protobuf``, ``demucs`` and its imports.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness import mil
from harness.metrics import snr_db
from harness.mil.recording import record
from harness.subjects import extract_inner_model, load_subject

SUBJECT = "htdemucs_6s@seeded"
EAGER = "eager fp32"

Tensors = Mapping[str, torch.Tensor]
Clock = Callable[[Callable[[], object]], float]


@dataclass
class Side:
    """A way to compute the segment; ``milliseconds`` has an entry for each round."""

    name: str
    call: Callable[[], Mapping[str, Any]]
    milliseconds: list[float] = field(default_factory=list)


def random_inputs(seed: int = 0) -> dict[str, np.ndarray]:
    """Return noise at the level of music, in the shapes of the model contract."""
    rng = np.random.default_rng(seed)
    shapes = {"spectrogram": (1, 4, 2048, 336), "audio": (1, 2, 343980)}
    return {n: (rng.standard_normal(s) * 0.1).astype(np.float32) for n, s in shapes.items()}


def cuda_ms(call: Callable[[], object]) -> float:
    """Return how long ``call`` keeps the device's stream, in milliseconds."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end))


def cpu_ms(call: Callable[[], object]) -> float:
    """Return the processor time of all threads, in milliseconds."""
    start = time.process_time()
    call()
    return (time.process_time() - start) * 1e3


def wall_ms(call: Callable[[], object]) -> float:
    """Return the wall-clock time, in milliseconds."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def alternate(sides: Iterable[Side], rounds: int, clock: Clock) -> None:
    """Time every side once in each round, every other round in reverse order, after a warm-up."""
    order = list(sides)
    for side in order:
        side.call()
    for number in range(rounds):
        for side in order if number % 2 == 0 else reversed(order):
            side.milliseconds.append(clock(side.call))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)


def ratio(side: Side, reference: Side) -> float:
    """Return the median, over the rounds, of the time of ``side`` divided by the reference's."""
    pairs = zip(side.milliseconds, reference.milliseconds, strict=True)
    return statistics.median(a / b for a, b in pairs)


def eager_sides(inputs: Tensors, *, half: bool) -> list[Side]:
    """Return PyTorch's eager forward of the inner network, in float32 and, on request, in half."""
    device = next(iter(inputs.values())).device
    found = []
    for name, dtype in ((EAGER, torch.float32), ("eager fp16", torch.float16))[: 2 if half else 1]:
        inner = extract_inner_model(load_subject(SUBJECT).model).eval().to(device, dtype)
        tensors = {key: value.to(dtype) for key, value in inputs.items()}

        def call(inner: torch.nn.Module = inner, tensors: Tensors = tensors) -> Tensors:
            with torch.no_grad():
                freq, wave = inner(tensors["spectrogram"], tensors["audio"])
            return {"freq": freq, "time": wave}

        found.append(Side(name, call))
    return found


def executor_sides(name: str, package: Path, inputs: Tensors) -> list[Side]:
    """Return the executor on one package in each numerics, on CUDA recorded, too."""
    model = mil.load(package)
    cuda = next(iter(inputs.values())).is_cuda
    found = []
    for numerics in ("storage", "native") if cuda and name != "fp32" else ("storage",):
        label = f"{name} {numerics}"
        found.append(Side(label, partial(model.run, inputs, numerics=numerics)))
        if cuda:
            recording = record(model, inputs, numerics=numerics)
            found.append(Side(f"{label} recorded", partial(recording.replay, inputs)))
    return found


def onnx_side(name: str, package: Path) -> Side:
    """Return ONNX Runtime on one package, on as many threads as PyTorch has."""
    from harness.engines.onnx_engine import OnnxSession
    from harness.onnx_export import export_model

    model, arrays = mil.load(package), random_inputs()
    session = OnnxSession(model, export_model(model), torch.get_num_threads())
    return Side(f"{name} onnx", partial(session.predict, arrays))


def numbers(side: Side, expected: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Return the SNR of each output of ``side`` against ``expected``, in dB; ``None``: equal."""
    actual = {
        name: torch.as_tensor(value).float().cpu().numpy() for name, value in side.call().items()
    }
    found = {name: snr_db(array, actual[name]) for name, array in expected.items()}
    return {name: None if value == math.inf else value for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--package", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    arrays = random_inputs()
    inputs = {name: torch.from_numpy(a).to(options.device) for name, a in arrays.items()}
    packages = {name: Path(path) for name, path in (p.split("=", 1) for p in options.package)}
    cuda = options.device == "cuda"

    expected = {name: mil.load(path).predict(arrays) for name, path in packages.items()}
    (eager, *rest) = eager_sides(inputs, half=cuda)
    expected[eager.name] = {n: t.cpu().numpy() for n, t in eager.call().items()}
    owners = {eager.name: eager.name} | {side.name: eager.name for side in rest}
    sides = [eager, *rest]
    for name, path in packages.items():
        made = executor_sides(name, path, inputs)
        owners |= {side.name: name for side in made}
        sides += made
    alternate(sides, options.rounds, cuda_ms if cuda else cpu_ms)
    document = {
        "device": torch.cuda.get_device_name()
        if cuda
        else f"cpu, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "subject": SUBJECT,
        "sides": {
            side.name: {
                "median_ms": statistics.median(side.milliseconds),
                "ratio": ratio(side, eager),
                "snr_db": numbers(side, expected[owners[side.name]]),
                "all_ms": [round(value, 3) for value in side.milliseconds],
            }
            for side in sides
        },
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
