"""Packages of the small trained model, converted once, and what `parity check` says of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.verdicts import Run
from harness.workbench import Workbench
from harness.workbench.check import Inquiry, check_package

GOLDEN_ROOT = Path(__file__).parents[3] / "golden"

Judge = Callable[..., Run]


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(GOLDEN_ROOT, tmp_path_factory.mktemp("check"))


@pytest.fixture(scope="session")
def package(bench: Workbench) -> Path:
    """The sound FP32 package of `mini`."""
    return bench.packages.path("mini", "fp32")


@pytest.fixture(scope="session")
def judged(bench: Workbench) -> Judge:
    """Judge a package of `mini`, on the song alone unless it is said otherwise."""

    def judge(package: Path, **asked: Any) -> Run:
        inquiry = Inquiry(package, "mini", **{"cases": ("song",), **asked})
        return check_package(bench, inquiry, lambda what, done, total: None).finish({})

    return judge
