"""A subject and a builder that take microseconds, and what child processes run in the tests."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import GoldenError
from harness.golden import Case, GoldenStore

VERSIONS: Mapping[str, str] = {
    "torch": "2.13.0",
    "demucs": "4.1.0",
    "numpy": "2.3.5",
    "harness": "0.1.0",
    "python": "3.11.9",
    "platform": "Linux x86_64",
}

_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.chmod", "fcntl.flock")

RECIPES = """
[case.noise]
kind = "noise"
why = "every frequency at once"
seed = 42
level_db = -20.0

[case.silence]
kind = "silence"
why = "nothing may come from nothing"
"""


@dataclass(frozen=True)
class FakeSubject:
    name: str = "tiny"
    fingerprint: str = "a" * 64


@dataclass(frozen=True)
class FakeBuilder:
    """Builds three small tensors; ``value`` is the first sample of each, ``scale`` a gain.

    ``log`` is a file that gets one line for each build, so that builds count across processes.
    """

    value: float = 0.5
    scale: float = 1.0
    shape: tuple[int, ...] = (1, 2, 50)
    log: Path | None = None
    pause_s: float = 0.0

    def __call__(self, subject: FakeSubject, case: Case) -> dict[str, np.ndarray]:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()} {subject.name} {case.name}\n")
        time.sleep(self.pause_s)
        rng = np.random.default_rng(7)
        tensors = {}
        for name in ("audio", "freq", "time"):
            tensor = (rng.standard_normal(self.shape) * self.scale).astype(np.float32)
            tensor.flat[0] = self.value
            tensors[name] = tensor
        return tensors


def make_root(folder: Path, recipes: str = RECIPES) -> Path:
    """Make a golden folder with recipes and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipes.toml").write_text(recipes, encoding="utf-8")
    return folder


def make_store(
    root: Path,
    builder: Callable[[FakeSubject, Case], Mapping[str, np.ndarray]] | None = None,
    **versions: str,
) -> GoldenStore[FakeSubject]:
    return GoldenStore(root, builder or FakeBuilder(), versions={**VERSIONS, **versions})


def build_many(root: Path, builder: FakeBuilder, names: list[str], force: bool) -> None:
    """Build cases one after the other; run in a child process."""
    store = make_store(root, builder)
    for name in names:
        store.build(FakeSubject(), name, force=force)


def fetch_and_report(root: Path, builder: FakeBuilder, report: Path) -> None:
    """Fetch one golden and write what the finding says; run in a child process."""
    finding = make_store(root, builder).fetch(FakeSubject(), "noise").finding
    report.write_text(f"{finding.status.value} {finding.was}", encoding="utf-8")


def build_forever(root: Path) -> None:
    """Build one golden again and again, each time another, until killed."""
    for number in range(1_000_000):
        store = make_store(root, FakeBuilder(value=float(number), shape=(2, 20_000)))
        store.build(FakeSubject(), "noise", force=True)


def build_until_event(root: Path, value: float, event: int) -> None:
    """Build one golden and die, as if killed, right before the ``event``-th change of the file
    system that Python makes; exits with 0 if the build was done before."""
    store = make_store(root, FakeBuilder(value=value))
    _ = store.cases
    left = event

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        flags = arguments[2] if name == "open" else 0
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        if writes or name in _CHANGES:
            left -= 1
            if left < 0:
                os._exit(9)

    sys.addaudithook(hook)
    store.build(FakeSubject(), "noise", force=True)
    os._exit(0)


def build_with_small_files(root: Path, report: Path, limit_bytes: int) -> None:
    """Build a golden where no file can grow past a limit; write the error to ``report``."""
    import resource

    store = make_store(root, FakeBuilder(value=9.0, shape=(4, 50_000)))
    _ = store.cases
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, unlimited[1]))
    try:
        store.build(FakeSubject(), "noise", force=True)
    except GoldenError as error:
        message = str(error)
    else:
        message = "no error"
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    report.write_text(message, encoding="utf-8")
