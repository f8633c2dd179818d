"""No false alarms: sound packages on fresh inputs, on every code path that this processor has.

Gates that catch everything are easy to make: tight ones. Here the other half is measured: inputs
that nobody chose, other numbers of threads, and the kernels that another processor would take, must
all stay green; and how close the closest came is told. Kernels are chosen by environment variables:
``ATEN_CPU_CAPABILITY`` (PyTorch's own), ``DNNL_MAX_CPU_ISA`` (oneDNN's convolutions and products),
``MKL_CBWR`` and ``MKL_ENABLE_INSTRUCTIONS`` (MKL's products). Each environment is one process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from harness.errors import ParityError
from harness.faults.clean_process import CleanRun, Environment, Evaluator, Order, make_input
from harness.golden.builder import observe_segment
from harness.origin import provenance
from harness.subjects import load_subject
from harness.verdicts import Verdict
from harness.workers import work, worker_pool

DOCUMENT_KIND = "clean_runs"
DOCUMENT_VERSION = 1
LEAST_RUNS: Final = 50
"""Five for each of the ten environments."""
COMMON_SEED: Final = 1000
"""Evaluated in every environment, so that bits can be compared between them, and judged there once
more by a golden of this process."""

Advance = Callable[[int, int], None]


def environments(cores: int) -> tuple[Environment, ...]:
    """Return the environments for a machine with so many cores."""
    oldest = {
        "ATEN_CPU_CAPABILITY": "default",
        "DNNL_MAX_CPU_ISA": "SSE41",
        "MKL_CBWR": "COMPATIBLE",
    }
    return (
        Environment("one thread", 1),
        Environment("two threads", 2),
        Environment(f"{2 * cores + 1} threads", 2 * cores + 1, {"OMP_WAIT_POLICY": "PASSIVE"}),
        Environment("ATen default", 1, {"ATEN_CPU_CAPABILITY": "default"}),
        Environment("ATen AVX2", 1, {"ATEN_CPU_CAPABILITY": "avx2"}),
        Environment("ATen AVX-512", 1, {"ATEN_CPU_CAPABILITY": "avx512"}),
        Environment("oneDNN SSE4.1", 1, {"DNNL_MAX_CPU_ISA": "SSE41"}),
        Environment("oneDNN AVX2", 1, {"DNNL_MAX_CPU_ISA": "AVX2"}),
        Environment("MKL compatible", 1, {"MKL_CBWR": "COMPATIBLE"}),
        Environment("oldest everywhere", 2, oldest),
    )


@dataclass(frozen=True)
class CleanResult:
    """Every clean run.

    Attributes:
        subject: what was run.
        environments: how; each has at least one run.
        runs: in the order of the environments.
        duration_s: of all of them.
        provenance: versions, machine, commit and command.
    """

    subject: str
    environments: tuple[Environment, ...]
    runs: tuple[CleanRun, ...]
    duration_s: float
    provenance: Mapping[str, Any]

    @property
    def alarms(self) -> int:
        """Number of runs in which a check failed."""
        return sum(bool(run.alarms) for run in self.runs)

    @property
    def verdict(self) -> Verdict:
        """Pass if there was no alarm in `LEAST_RUNS` runs or more, and every environment ran."""
        if self.alarms:
            return Verdict.FAIL
        ran = {run.environment for run in self.runs if run.checks}
        complete = ran == {environment.name for environment in self.environments}
        enough = len(self.runs) >= LEAST_RUNS
        return Verdict.PASS if complete and enough else Verdict.NOT_EVALUATED

    @property
    def closest(self) -> dict[str, CleanRun]:
        """For each layer the run with the smallest headroom."""
        layers = dict.fromkeys(layer for run in self.runs for layer in run.headroom_db)
        return {layer: min(self.runs, key=lambda run: run.headroom_db[layer]) for layer in layers}

    @property
    def bits(self) -> dict[str, str]:
        """For each environment the digest of the package's outputs on the common input."""
        common = f"song {COMMON_SEED}"
        return {run.environment: run.digest for run in self.runs if run.input == common}

    def to_dict(self) -> dict[str, Any]:
        """Return the document as plain JSON data; infinities stay floats."""
        return {
            "kind": DOCUMENT_KIND,
            "version": DOCUMENT_VERSION,
            **asdict(self),
            "verdict": self.verdict.value,
            "alarms": self.alarms,
            "closest": {
                layer: {
                    "headroom_db": run.headroom_db[layer],
                    "environment": run.environment,
                    "input": run.input,
                }
                for layer, run in self.closest.items()
            },
            "bits": self.bits,
        }


def run_clean(
    package: Path,
    subject: str,
    *,
    runs: int = LEAST_RUNS,
    chosen: Sequence[Environment] = (),
    advance: Advance = lambda done, total: None,
) -> CleanResult:
    """Evaluate a sound package on fresh inputs in every environment.

    Args:
        package: the FP32 package of the subject.
        subject: name of the model.
        runs: how many in all; each environment gets as many, one or two of them more.
        chosen: the environments; by default `environments` for this machine.
        advance: called as ``advance(done, total)``.

    Raises:
        ParityError: fewer runs than environments, or a process died.
    """
    started = time.perf_counter()
    chosen = tuple(chosen) or environments(os.cpu_count() or 1)
    if runs < len(chosen):
        raise ParityError(f"{runs} clean runs are too few for {len(chosen)} environments")
    found: list[CleanRun] = []
    golden = observe_segment(load_subject(subject), make_input(COMMON_SEED), taps=True)
    for environment, seeds in zip(chosen, _seeds(runs, len(chosen)), strict=True):
        order = Order(environment, subject, package, {COMMON_SEED: golden})
        for run in _in_process(order, seeds):
            found.append(run)
            advance(len(found), runs)
    return CleanResult(
        subject=subject,
        environments=tuple(chosen),
        runs=tuple(found),
        duration_s=round(time.perf_counter() - started, 1),
        provenance=provenance(),
    )


def _seeds(runs: int, environments: int) -> Iterator[list[int]]:
    """Yield the seeds of each environment: the common one, and fresh ones of its own."""
    fresh = iter(range(COMMON_SEED + 1, COMMON_SEED + 1 + runs))
    for number in range(environments):
        own = list(islice(fresh, len(range(number, runs, environments))))
        yield [COMMON_SEED, *own[:-1]]


def _in_process(order: Order, seeds: Sequence[int]) -> Iterator[CleanRun]:
    """Yield the runs of one process as they end.

    Raises:
        ParityError: it ended before it had done all of them.
    """
    done, environment = 0, order.environment
    # PyTorch, oneDNN and MKL read their variables when they are loaded: a process has to inherit
    # them when it starts.
    variables = {**environment.variables, "OMP_NUM_THREADS": str(environment.threads)}
    try:
        with patch.dict(os.environ, variables), worker_pool(1, Evaluator, order) as pool:
            for run in pool.map(work, seeds):
                yield run
                done += 1
    except (BrokenProcessPool, BrokenPipeError) as error:  # dead later, or before it was ready
        raise ParityError(
            f"the process for {environment.name!r} ended after {done} of {len(seeds)} clean runs; "
            "see its messages above"
        ) from error
